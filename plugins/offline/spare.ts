/** Copies of what waits for sessions that have lost their connections: a process that dies has it in memory only. */

import {
  bareOf,
  type EventPayload,
  keepStanza,
  NS_STANZA_ID,
  type Stanza,
  type StreamSession,
} from '../../server/index.ts'
import { findOrigin } from './giving-back.ts'
import { Lent } from './lent.ts'
import type { Mailbox } from './mailbox.ts'
import type { OfflineModule } from './options.ts'
import { isWorthKeeping } from './worth.ts'

export class Spares {
  private readonly module: OfflineModule
  private readonly mailbox: Mailbox
  private readonly ids = new Lent()

  constructor(module: OfflineModule, mailbox: Mailbox) {
    this.module = module
    this.mailbox = mailbox
  }

  /** Ids in the store of an account's. */
  of(username: string): string[] {
    return this.ids.of(username)
  }

  /** @returns what ends that the copy is kept; undefined if none is */
  keep({ session, stanza, when }: EventPayload<'delivery/waiting'>): (() => Promise<void>) | undefined {
    const { module } = this
    if (module.options.offline_max_messages === 0) return undefined
    if (!this.isToBeKept(session, stanza) || !isWorthKeeping(stanza)) return undefined
    const username = session.username!
    const kept = this.store(session, stanza, when)
    // It is not acknowledged before.
    const sender = findOrigin(module as never, stanza.attrs.from)
    sender?.begin?.(kept)
    void kept.then(() => sender?.end?.(kept))
    return () => {
      // What the client asks next is answered when it is gone for good.
      const work = {}
      session.begin(work)
      const gone = kept.then((id) => this.remove(username, id)).then(() => session.end(work))
      module.server.finishBeforeStop(gone)
      return gone
    }
  }

  /** Besides all that is kept: a session's memory is limited. @returns its id; undefined if it could not be kept */
  private store(session: StreamSession, stanza: Stanza, when: number): Promise<string | undefined> {
    const { mailbox } = this
    const username = session.username!
    return mailbox
      .inTurn(username, async () => {
        const id = await mailbox.store.append(username, keepStanza(stanza), when, stanza.attrs.from ?? '')
        this.ids.add(username, id, session)
        return id
      })
      .catch((error: unknown) => {
        this.failed(username, error)
        return undefined
      })
  }

  /** It does not fail. */
  private async remove(username: string, id: string | undefined): Promise<void> {
    if (id === undefined) return
    try {
      await this.mailbox.store.remove(username, [id])
    } catch (error) {
      this.failed(username, error)
    }
    this.ids.delete(username, [id])
  }

  private failed(username: string, error: unknown): void {
    this.mailbox.complain('a copy of what waits for a session is not kept as it should be', username, error)
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
}
