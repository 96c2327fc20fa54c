/** What a server that runs can tell about itself. */

import { createRequire } from 'node:module'
import { performance } from 'node:perf_hooks'
import { setTimeout as wait } from 'node:timers/promises'
import type { Host } from '../host.ts'
import type { Server } from '../server.ts'
import type { StreamSession } from '../stream/session.ts'
import type { OwnStatus } from './answers.ts'

const { version } = createRequire(import.meta.url)('legate/package.json') as { version: string }

/** Milliseconds over which it is measured how busy the server is. */
const SAMPLE = 200

/** What the server itself does not know. */
export type ProcessStatus = Pick<OwnStatus, 'state' | 'configuredAt' | 'log'>

/** @param around - read when all else is known */
export async function statusOf(server: Server, around: () => ProcessStatus): Promise<OwnStatus> {
  const before = performance.eventLoopUtilization()
  await wait(SAMPLE, undefined, { ref: false })
  const now = performance.eventLoopUtilization()
  const memory = process.memoryUsage()
  const hosts = [...server.hosts.values()]
  const sessions = sessionsOf(server)
  return {
    version,
    process: process.pid,
    ...around(),
    startedAt: Math.round(performance.timeOrigin),
    config: server.config.path,
    dataPath: server.dataPath,
    node: process.version,
    memory: { resident: memory.rss, heap: memory.heapUsed },
    busy: {
      now: performance.eventLoopUtilization(now, before).utilization,
      average: now.utilization,
    },
    listening: server.addresses,
    hosts: hosts
      .filter(({ hostType }) => hostType === 'host')
      .map((host) => ({
        name: host.name,
        bound: sessions.bound.get(host) ?? 0,
        authenticated: sessions.authenticated.get(host) ?? 0,
        accounts: host.accounts.size,
      })),
    components: hosts
      .filter(({ hostType }) => hostType === 'component')
      .map((host) => componentOf(server, host, sessions.components.get(host))),
    unauthenticated: sessions.unauthenticated,
  }
}

/** Sessions by host. */
interface Sessions {
  readonly bound: Map<Host, number>
  readonly authenticated: Map<Host, number>
  readonly components: Map<Host, StreamSession[]>
  unauthenticated: number
}

function sessionsOf({ sessions }: Server): Sessions {
  const sorted: Sessions = {
    bound: new Map(),
    authenticated: new Map(),
    components: new Map(),
    unauthenticated: 0,
  }
  for (const session of sessions) {
    const { type, host } = session
    if (type === 'c2s_unauthed' || type === 'component_unauthed') sorted.unauthenticated++
    if (host === undefined || session.destroyed) continue
    if (type === 'component') {
      const open = sorted.components.get(host)
      if (open === undefined) sorted.components.set(host, [session])
      else open.push(session)
    } else if (type === 'c2s' && session.account === undefined) {
    } else if (type === 'c2s' || type === 'c2s_unbound') {
      const counts = type === 'c2s' ? sorted.bound : sorted.authenticated
      counts.set(host, (counts.get(host) ?? 0) + 1)
    }
  }
  return sorted
}

function componentOf(
  server: Server,
  { name }: Host,
  sessions: readonly StreamSession[] = [],
): OwnStatus['components'][number] {
  return {
    name,
    external: server.modules.isLoaded(name, 'component'),
    connections: sessions.map(({ since, connection }) => ({
      since: since * 1000,
      address: connection.remoteAddress,
    })),
  }
}
