/** What other processes are handing over of the messages that are kept for an account. */

import type { Member, Module } from '../../server/index.ts'

/** Milliseconds that another process may take to say what it hands over. */
const ASK_MS = 5000

export class Elsewhere {
  private readonly module: Module
  private readonly callName: string
  /** By process: accounts that somebody is there for here, while that one hands over messages. */
  private readonly byMember = new Map<string, Set<string>>()

  constructor(module: Module) {
    this.module = module
    this.callName = `offline/lent ${module.host.name}`
  }

  /**
   * Answers the others, and hears of those that are gone.
   *
   * @param ours - ids in the store of what this process hands over of an account's
   * @param freed - called with each account of which a process that is gone was handing over something
   * @returns what ends that
   */
  listen(ours: (username: string) => string[], freed: (username: string) => void): (() => void)[] {
    const { cluster } = this.module.server
    if (cluster === undefined) return []
    return [
      cluster.calls.on(this.callName, (username) => ours(username as string)),
      cluster.calls.onLeft(({ id }: Member) => {
        const usernames = this.byMember.get(id)
        this.byMember.delete(id)
        for (const username of usernames ?? []) freed(username)
      }),
    ]
  }

  /** Asks for the ids in the store of what is on its way to sessions of other processes. */
  async ask(username: string): Promise<ReadonlySet<string>> {
    for (const usernames of this.byMember.values()) usernames.delete(username)
    const ids = new Set<string>()
    const answers = await this.module.server.cluster!.calls.askAll(this.callName, username, ASK_MS)
    for (const [member, lent] of answers) {
      if (!Array.isArray(lent) || lent.length === 0) continue
      for (const id of lent) ids.add(id)
      const usernames = this.byMember.get(member)
      if (usernames === undefined) this.byMember.set(member, new Set([username]))
      else usernames.add(username)
    }
    return ids
  }
}
