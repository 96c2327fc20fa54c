/** What is new and waited behind what was kept, when the session has ended that was to get both. */

import { type Module, type Origin, payloadAttributes, type StreamSession } from '../../server/index.ts'
import { isForAll } from '../smacks/others.ts'
import { giveBackOne } from '../smacks/undelivered.ts'
import type { Giver, Waiting } from './first.ts'

export class GivingBack implements Giver {
  private readonly module: Module
  private readonly failed: (username: string, error: unknown) => void

  /** @param failed - hears what could not be given back */
  constructor(module: Module, failed: (username: string, error: unknown) => void) {
    this.module = module
    this.failed = failed
  }

  senderOf(text: string): Origin | undefined {
    return findOrigin(this.module, payloadAttributes(text).from)
  }

  hasCopies(session: StreamSession, text: string): boolean {
    if (!isForAll(session, text)) return false
    for (const other of this.module.host.resourcesOf(session.username!)) {
      if (other === session || !other.available || other.destroyed) continue
      if (other.priority === session.priority) return true
    }
    return false
  }

  giveBack(session: StreamSession, waiting: readonly Waiting[]): void {
    const { cluster } = this.module.server
    // What it has not acknowledged was sent before.
    const before = session.afterwork
    const works = waiting.map((one) => {
      const go = () =>
        before === undefined ? this.goesOn(session, one) : before.then(() => this.goesOn(session, one))
      if (cluster !== undefined) return cluster.goesOn(session.bareJid!, go)
      const work = go()
      // So that nothing overtakes it that comes from the same.
      one.sender?.hold?.(work)
      return work
    })
    const work = Promise.all(works).then(() => {})
    session.afterwork = work
    this.module.server.finishBeforeStop(work)
  }

  /** It does not fail. */
  private async goesOn(session: StreamSession, one: Waiting): Promise<void> {
    const { receipt, text, when, hasCopies } = one
    try {
      if (receipt !== undefined) receipt.missed()
      else if (!hasCopies) await giveBackOne(this.module.host, session, text, when)
    } catch (error) {
      this.failed(session.username!, error)
    } finally {
      one.sender?.end?.(one)
    }
  }
}

/** Whose stanza is not acknowledged before something is done with it; undefined if nobody is there any more. */
export function findOrigin({ server }: Module, from = ''): Origin | undefined {
  return server.fullJids.get(from) ?? server.cluster?.directory.find(from)
}
