/** What is new and waited behind what was kept, when the session has ended that was to get both. */

import {
  type Module,
  type Origin,
  payloadAttributes,
  type Resource,
  type StreamSession,
} from '../../server/index.ts'
import { goBeforeOthers } from '../smacks/before-others.ts'
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

  othersWith(session: StreamSession, text: string): readonly Resource[] {
    if (!isForAll(session, text)) return []
    const { username, priority } = session
    return [...this.module.host.resourcesOf(username!)].filter((other) => {
      return other !== session && other.available && !other.destroyed && other.priority === priority
    })
  }

  giveBack(session: StreamSession, waiting: readonly Waiting[], kept: Promise<unknown>): void {
    // What it has not acknowledged was sent before.
    const before = Promise.all([kept, session.afterwork])
    // Of several that have it, the last that ends gives it back.
    const hadElsewhere = waiting.map(({ others }) => others.some(({ destroyed }) => !destroyed))
    const go = async () => {
      await before
      for (const [i, one] of waiting.entries()) await this.goesOn(session, one, hadElsewhere[i]!)
    }
    const from = waiting.map(({ text }) => payloadAttributes(text).from)
    const work = goBeforeOthers(this.module, session, from, go)
    session.afterwork = work
    this.module.server.finishBeforeStop(work)
  }

  /** It does not fail. */
  private async goesOn(session: StreamSession, one: Waiting, isElsewhere: boolean): Promise<void> {
    const { receipt, text, when, sender } = one
    const since = sender?.begun
    try {
      if (receipt !== undefined) receipt.missed()
      else if (!isElsewhere) await giveBackOne(this.module.host, session, text, when)
    } catch (error) {
      this.failed(session.username!, error)
    } finally {
      if (one.isAwaited) sender?.end?.(one, since)
    }
  }
}

/** Whose stanza is not acknowledged before something is done with it; undefined if nobody is there any more. */
export function findOrigin({ server }: Module, from = ''): Origin | undefined {
  return server.fullJids.get(from) ?? server.cluster?.directory.find(from)
}
