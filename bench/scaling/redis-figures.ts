// What a Redis that is measured says of itself.
import type { RedisPeer } from '../../test/shared/peers/redis.ts'
import { cpuSeconds } from '../process-figures.ts'

/** At one moment. */
export interface RedisFigures {
  /** Bytes, without the buffers of its clients. */
  readonly memory: number
  /** Calls by command, those in scripts included. */
  readonly calls: ReadonlyMap<string, number>
  /** Bytes that it has sent. */
  readonly sent: number
  /** Seconds of CPU. */
  readonly cpu: number
}

/** Between two moments. */
export interface RedisUse {
  readonly memory: number
  readonly sent: number
  readonly cpu: number
  calls(...names: string[]): number
}

/** Asks a Redis. */
export async function redisFigures(redis: RedisPeer): Promise<RedisFigures> {
  const text = await redis.cli('info', 'all')
  const value = (name: string) => Number(new RegExp(`^${name}:(\\d+)`, 'm').exec(text)?.[1] ?? 0)
  const calls = new Map<string, number>()
  for (const [, name, count] of text.matchAll(/^cmdstat_([\w|]+):calls=(\d+)/gm))
    calls.set(name!, Number(count))
  return {
    memory: value('used_memory') - value('mem_clients_normal'),
    calls,
    sent: value('total_net_output_bytes'),
    cpu: cpuSeconds(redis.pid),
  }
}

/** What has been between two moments. */
export function redisUse(before: RedisFigures, after: RedisFigures): RedisUse {
  return {
    memory: after.memory - before.memory,
    sent: after.sent - before.sent,
    cpu: after.cpu - before.cpu,
    calls(...names) {
      let sum = 0
      for (const name of names) sum += (after.calls.get(name) ?? 0) - (before.calls.get(name) ?? 0)
      return sum
    },
  }
}

/** Commands of processes to the Redis of a cluster. What scripts do is not among them. */
export function clusterCommands(use: RedisUse): number {
  return clusterScripts(use) + use.calls('xread', 'incr')
}

/** Scripts that processes have Redis run. */
export function clusterScripts(use: RedisUse): number {
  return use.calls('evalsha', 'eval')
}
