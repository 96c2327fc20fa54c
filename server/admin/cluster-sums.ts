/** Sums of what the processes of a cluster tell of themselves. */

import type { Cluster } from '../cluster/cluster.ts'
import type { Server } from '../server.ts'
import type { MemberFigures, OwnStatus } from './answers.ts'

/**
 * Accounts with clients here, by host, but for those that have clients at a process with a smaller id, too: so each
 * is counted once in a sum over all processes.
 */
export function countedAccounts({ hosts }: Server, { directory, self }: Cluster): Record<string, number> {
  const counted: Record<string, number> = {}
  for (const { name, hostType, accounts } of hosts.values()) {
    if (hostType !== 'host') continue
    let count = 0
    for (const username of accounts.keys()) {
      const elsewhere = directory.resourcesOf(`${username}@${name}`)
      if (!elsewhere.some(({ member }) => member.id < self.id)) count++
    }
    counted[name] = count
  }
  return counted
}

/** The hosts that any process serves. */
export function sumOfHosts(all: readonly MemberFigures[]): OwnStatus['hosts'] {
  const sums = new Map<string, OwnStatus['hosts'][number]>()
  for (const { status, countedAccounts } of all) {
    for (const { name, bound, authenticated } of status.hosts) {
      const sum = sums.get(name)
      sums.set(name, {
        name,
        bound: (sum?.bound ?? 0) + bound,
        authenticated: (sum?.authenticated ?? 0) + authenticated,
        accounts: (sum?.accounts ?? 0) + (countedAccounts[name] ?? 0),
      })
    }
  }
  return [...sums.values()]
}

/** The components of any process, with the connections to all of them. */
export function sumOfComponents(all: readonly MemberFigures[]): OwnStatus['components'] {
  const sums = new Map<string, OwnStatus['components'][number]>()
  for (const { status } of all) {
    for (const { name, external, connections } of status.components) {
      const sum = sums.get(name)
      sums.set(name, { name, external, connections: [...(sum?.connections ?? []), ...connections] })
    }
  }
  return [...sums.values()]
}
