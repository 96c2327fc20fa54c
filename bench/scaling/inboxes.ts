// What Redis takes for stanzas across where many processes share it: each sends one stanza to one other with a command,
// or one stanza to each other; and everybody reads. The processes are only played: it is Redis that is measured.

import { pack } from '../../server/cluster/batch.ts'
import { ClusterStore, type Operation } from '../../server/cluster/store.ts'
import { silentLogger } from '../../server/log.ts'
import { RedisConnection } from '../../server/redis/index.ts'
import { type SingleRedis, startRedis } from '../../test/shared/peers/redis.ts'
import { cpuSeconds } from '../process-figures.ts'
import { PREFIX } from './processes.ts'

const MEMBERS = 40
const STANZA_LENGTH = 250
const ENTRIES = 60_000
const READ = 100

/** Microseconds of CPU of Redis for an entry in an inbox, sent and read. */
export interface EntryCosts {
  /** One in each script, and one in each reading. */
  readonly alone: number
  /** One for each other process in each script, and as many in each reading. */
  readonly together: number
}

/** Measures them, on a Redis of its own. */
export async function measureEntries(): Promise<EntryCosts> {
  const single = await startRedis()
  const { hostname, port } = new URL(single.redis.url)
  const connection = new RedisConnection(
    {
      place: { kind: 'single', host: hostname, port: Number(port) },
      db: 0,
      prefix: PREFIX,
      waitReplicas: 0,
      directory: '.',
    },
    { purpose: 'scaling', log: silentLogger },
  )
  try {
    await connection.whenReady(5000)
    const members = new Members(new ClusterStore(connection.client, PREFIX), connection)
    await members.join()
    // Code and memory are there then.
    await members.exchange(single, MEMBERS - 1, ENTRIES / 10)
    const together = await members.exchange(single, MEMBERS - 1, ENTRIES)
    return { together, alone: await members.exchange(single, 1, ENTRIES / 2) }
  } finally {
    await connection.close()
    await single.stop()
  }
}

class Members {
  private readonly store: ClusterStore
  private readonly connection: RedisConnection
  private readonly ids = Array.from({ length: MEMBERS }, (_, i) => `member-${String(i).padStart(9, '0')}`)
  private readonly read = new Map<string, number>()
  private readonly packed = pack(['x'.repeat(STANZA_LENGTH)])

  constructor(store: ClusterStore, connection: RedisConnection) {
    this.store = store
    this.connection = connection
  }

  async join(): Promise<void> {
    for (const id of this.ids) await this.store.join(id, '{}', false)
  }

  /** @param each - entries in a script, to as many others. @returns microseconds for one */
  async exchange({ redis }: SingleRedis, each: number, entries: number): Promise<number> {
    const { ids } = this
    const cpu = cpuSeconds(redis.pid)
    let sent = 0
    for (let turn = 0; sent < entries; turn++) {
      // All at the same time, as processes are; then they read.
      await Promise.all(
        ids.map((id, at) => {
          const to = Array.from({ length: each }, (_, i) => ids[(at + 1 + i + turn * each) % MEMBERS]!)
          const operations: Operation[] = to
            .filter((other) => other !== id)
            .map((other) => ({ to: other, receipt: '1 0 0 ', packed: this.packed }))
          sent += operations.length
          return this.store.flush(id, this.read.get(id) ?? 0, false, operations)
        }),
      )
      await Promise.all(ids.map((id) => this.take(id)))
    }
    return ((cpuSeconds(redis.pid) - cpu) * 1e6) / sent
  }

  private async take(id: string): Promise<void> {
    const after = `${this.read.get(id) ?? 0}-0`
    const { changes, inbox } = { changes: this.store.keys.changes, inbox: this.store.keys.inbox(id) }
    const args = ['COUNT', READ, 'STREAMS', changes, inbox, '$', after]
    const reply = await this.connection.client.call('XREAD', ...args)
    const text = JSON.stringify(reply ?? '')
    const last = [...text.matchAll(/"(\d{16})-0"/g)].at(-1)?.[1]
    if (last !== undefined) this.read.set(id, Number(last))
  }
}
