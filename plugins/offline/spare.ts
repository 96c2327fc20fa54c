/** Copies of what waits for sessions that have lost their connections: a process that dies has it in memory only. */

import {
  bareOf,
  type EventPayload,
  NS_STANZA_ID,
  type Origin,
  type Stanza,
  type StreamSession,
} from '../../server/index.ts'
import type { Mailbox } from './mailbox.ts'
import type { OfflineModule } from './options.ts'
import { isWorthKeeping } from './worth.ts'

export class Spares {
  private readonly module: OfflineModule
  private readonly mailbox: Mailbox

  constructor(module: OfflineModule, mailbox: Mailbox) {
    this.module = module
    this.mailbox = mailbox
  }

  /** @returns what ends that the copy is kept; undefined if none is */
  keep({ session, stanza, when }: EventPayload<'delivery/waiting'>): (() => Promise<void>) | undefined {
    const { mailbox, module } = this
    if (module.options.offline_max_messages === 0) return undefined
    if (!this.isToBeKept(session, stanza) || !isWorthKeeping(stanza)) return undefined
    const username = session.username!
    const kept = mailbox.lend(session, stanza, when)
    // It is not acknowledged before.
    const sender = this.senderOf(stanza)
    sender?.begin?.(kept)
    void kept.then(() => sender?.end?.(kept))
    return () => {
      // What the client asks next is answered when it is gone for good.
      const work = {}
      session.begin(work)
      const gone = kept.then((id) => mailbox.takeBack(username, id)).then(() => session.end(work))
      module.server.finishBeforeStop(gone)
      return gone
    }
  }

  /** Whether nobody else has it: no archive, and no other resource that it was for as well. */
  private isToBeKept(session: StreamSession, { attrs, inner }: Stanza): boolean {
    const { type, from, to } = attrs
    if (type === 'error' || type === 'headline' || type === 'groupchat') return false
    const bareJid = session.bareJid!
    // A carbon copy, or something of the account's own archive.
    if (from === undefined || bareOf(from) === bareJid) return false
    if (inner.includes(NS_STANZA_ID) && inner.includes(bareJid)) return false
    return to === session.fullJid || !this.hasOthers(session)
  }

  private hasOthers(session: StreamSession): boolean {
    for (const other of this.module.host.resourcesOf(session.username!)) {
      if (other !== session && other.available && other.priority >= 0 && !other.destroyed) return true
    }
    return false
  }

  private senderOf({ attrs }: Stanza): Origin | undefined {
    const { server } = this.module
    const from = attrs.from ?? ''
    return server.fullJids.get(from) ?? server.cluster?.directory.find(from)
  }
}
