/** What is kept of sessions that can not be resumed any more: what they had handled (XEP-0198 §5). */

import type { Module } from '../../server/index.ts'

interface Former {
  readonly h: number
  /** Unix time in seconds. */
  readonly t: number
}

/** Ids as they are made here; nothing else is looked for. */
const ID = /^[\w.~-]{16,80}$/

export class FormerSessions {
  private readonly store

  constructor(module: Module) {
    this.store = module.openStore<Former>('smacks_h', 'map')
  }

  /** @param most - that are kept of an account */
  async add(username: string, id: string, h: number, most: number): Promise<void> {
    if (most === 0) return
    const kept = [...(await this.store.getAll(username))].sort(([, one], [, other]) => other.t - one.t)
    const changes: Record<string, Former | undefined> = { [id]: { h, t: Math.floor(Date.now() / 1000) } }
    for (const [old] of kept.slice(most - 1)) if (old !== id) changes[old] = undefined
    await this.store.setKeys(username, changes)
  }

  /** Takes out what is known of one. @returns what it had handled */
  async take(username: string, id: string): Promise<number | undefined> {
    if (!ID.test(id)) return undefined
    const former = await this.store.get(username, id)
    if (former !== undefined) await this.store.set(username, id, undefined)
    return former?.h
  }
}
