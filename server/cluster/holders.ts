/** Tells whoever holds resources of an account, also those of whom this process does not know yet. */

import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Host } from '../host.ts'
import type { Logger } from '../log.ts'
import type { Calls } from './calls.ts'
import type { Directory } from './directory.ts'
import type { AccountRegistry } from './registry.ts'

interface Call {
  readonly name: string
  readonly data: unknown
  /** Who was known to hold resources, and was told. */
  readonly told: ReadonlySet<string>
}

export class Holders {
  private readonly directory: Directory
  private readonly calls: Calls
  private readonly registry: AccountRegistry
  private readonly log: Logger
  /** What was told in this turn of the event loop, by account, and when all of them have been. */
  private readonly fresh = new Map<string, { readonly calls: Call[]; readonly told: Promise<void> }>()

  constructor(directory: Directory, calls: Calls, registry: AccountRegistry, log: Logger) {
    this.directory = directory
    this.calls = calls
    this.registry = registry
    this.log = log
  }

  /** Other processes that are known to hold resources of an account. */
  of(host: Host, username: string): ReadonlySet<string> {
    const holders = new Set<string>()
    for (const { member } of this.directory.resourcesOf(`${username}@${host.name}`)) holders.add(member.id)
    return holders
  }

  /**
   * Tells the holders of an account that something of it has changed. Those that are known hear of it at once; a
   * process that is just binding a session may have read before the change what it keeps, and be known only later.
   * The registry knows it: a resource is claimed before anything is read.
   *
   * @returns what resolves when it is on its way to all of them, before all that is sent to them later
   */
  tell(host: Host, username: string, name: string, data: unknown): Promise<void> {
    const told = this.of(host, username)
    this.calls.tell(told, name, data)
    const account = `${username}@${host.name}`
    const fresh = this.fresh.get(account)
    if (fresh !== undefined) {
      fresh.calls.push({ name, data, told })
      return fresh.told
    }
    const rest = nextTurn().then(() => this.tellRest(host, username, account))
    this.fresh.set(account, { calls: [{ name, data, told }], told: rest })
    return rest
  }

  private async tellRest(host: Host, username: string, account: string): Promise<void> {
    const calls = this.fresh.get(account)?.calls ?? []
    this.fresh.delete(account)
    try {
      const owners = await this.registry.ownersOf(host.name, username)
      const members = new Set([...owners.values()].map(({ member }) => member))
      for (const { name, data, told } of calls) {
        this.calls.tell(
          [...members].filter((id) => !told.has(id)),
          name,
          data,
        )
      }
    } catch (error) {
      // While Redis is away no session can be bound.
      this.log.debug('an account could not be looked up', { account, error })
    }
  }
}
