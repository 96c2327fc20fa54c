/** The figures of delegation, as whichever plugin delegates gives them in the shared table `metrics`. */

import * as z from 'zod'
import type { Server } from '../server.ts'
import { type CountedDelegation, countedDelegationSchema } from './answers.ts'
import { AdminError } from './protocol.ts'

/** The shared table in which plugins put what they have counted, by name. */
type Metrics = Map<string, () => unknown>

const providedSchema = z.array(z.looseObject({}))

/**
 * Every delegated namespace, by host and namespace, as far as this process has to do with it.
 *
 * @param host - only of this host
 * @throws AdminError if there is no such host, or an Error if the plugin's figures are not of the expected form
 */
export function delegationsOf(server: Server, host?: string): CountedDelegation[] {
  if (host !== undefined && !server.hosts.has(host)) {
    const hosts = [...server.hosts.values()].filter(({ hostType }) => hostType === 'host')
    const names = hosts.map(({ name }) => name).join(', ')
    throw new AdminError(`the server has no host "${host}"; those that it has: ${names}`)
  }
  const metrics = server.sharedTable<Metrics>('metrics', () => new Map())
  const provided = providedSchema.parse(metrics.get('delegation')?.() ?? [])
  return provided
    .map((figures) => countedDelegationSchema.parse(normalised(figures)))
    .filter((figures) => host === undefined || figures.host === host)
    .sort((a, b) => compare(a.host, b.host) || compare(a.namespace, b.namespace))
}

/** Plugins count seconds since the epoch; what was not measured may be null. */
function normalised(figures: Record<string, unknown>): Record<string, unknown> {
  const { replyMs, connectedSince } = figures
  const times = typeof replyMs === 'object' && replyMs !== null ? (replyMs as Record<string, unknown>) : {}
  const since = numberOf(connectedSince)
  return {
    ...figures,
    connectedSince: since === undefined ? undefined : since * 1000,
    replyMs: { median: numberOf(times['median']), p99: numberOf(times['p99']) },
  }
}

function numberOf(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isFinite(value) ? value : undefined
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}
