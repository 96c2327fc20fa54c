// One size, measured: processes, accounts and sessions are made, and what they use is put beside what the model says.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type SingleRedis, startRedis } from '../../test/shared/peers/redis.ts'
import type { Client } from '../load/client.ts'
import { runClosedLoop } from '../load/closed-loop.ts'
import { connectComponent } from '../load/component.ts'
import { COMPONENT, HOST, SECRET } from '../load/stanzas.ts'
import type { TrafficName } from '../load/traffic.ts'
import { cpuSeconds } from '../process-figures.ts'
import { Broadcasts } from './broadcasts.ts'
import { loseProcess } from './losses.ts'
import {
  boundBytes,
  broadcastCost,
  changeBytes,
  delegatedCost,
  directoryBytes,
  idleCommands,
  idleReads,
  loginCost,
  logoutCost,
  type Names,
  ownBytes,
  type Size,
  stanzaCost,
  stateBytes,
  storedBytes,
} from './model.ts'
import { Population, RESOURCE, userOf, writeAccounts, writeRosters } from './population.ts'
import { LegateProcess, PREFIX, type Shared } from './processes.ts'
import { clusterCommands, clusterScripts, type RedisUse, redisFigures, redisUse } from './redis-figures.ts'

/** A figure. */
export interface Row {
  readonly what: string
  readonly unit: string
  /** By the model; undefined for what only this machine can tell. */
  readonly predicted?: number
  readonly measured: number
}

export const NAMES: Names = {
  prefix: PREFIX.length,
  host: HOST.length,
  user: userOf(0).length,
  resource: RESOURCE.length,
}

const LEASE = 10
const CHANGES = `{${PREFIX}:cluster}:changes`
const IDLE_MS = 20_000
/** Long enough that receipts have gone, and whoever waits waits again. */
const APART_MS = 80
const SETTLE_MS = 2000
const WARM_UP = 200
const SINGLE = 60
const BROADCASTS = 100
const DELIVERIES_AT_SPEED = 60_000
const IN_FLIGHT = 32
const CLIENTS = 8
const OPERATIONS_ALONE = 2000
const OPERATIONS_AT_SPEED = 20_000
/** Nothing is heard of a dead process any more. */
const QUIET_MS = 20_000

/** Measures one size. @param note - told what is being done */
export async function measureSize(size: Size, note: (text: string) => void): Promise<Row[]> {
  const folder = await mkdtemp(join(tmpdir(), 'legate-scaling-'))
  const redis: SingleRedis[] = []
  const run = new Run(size, note)
  try {
    redis.push(await startRedis(), await startRedis())
    await run.all({ folder, storage: redis[0]!.redis, cluster: redis[1]!.redis, lease: LEASE })
    return run.rows
  } finally {
    run.population?.close()
    await Promise.allSettled(run.processes.map((process) => process.stop()))
    for (const one of redis) await one.stop()
    await rm(folder, { recursive: true, force: true })
  }
}

class Run {
  readonly rows: Row[] = []
  readonly processes: LegateProcess[] = []
  population: Population | undefined
  private readonly size: Size
  private readonly note: (text: string) => void
  private readonly random = randomNumbers(1)
  private shared!: Shared
  /** Bytes of heap of a process that has just started. */
  private fresh = 0

  constructor(size: Size, note: (text: string) => void) {
    this.size = size
    this.note = note
  }

  async all(shared: Shared): Promise<void> {
    this.shared = shared
    await this.storage()
    for (let i = 0; i < this.size.processes; i++) {
      this.processes.push(await LegateProcess.start(shared, `p${i}`))
    }
    this.population = new Population(this.processes.map(({ c2sPort }) => c2sPort))
    this.fresh = (await this.processes[0]!.memory()).heap
    await this.warmUp()
    await this.sessions()
    await this.idle()
    await this.logins()
    await this.broadcasts()
    await this.stanzas()
    await this.joining()
    await this.loss()
  }

  private row(what: string, unit: string, measured: number, predicted?: number): void {
    this.rows.push({ what, unit, measured, predicted })
    const told = predicted === undefined ? '' : ` (model ${figure(predicted)})`
    this.note(`  ${what}: ${figure(measured)} ${unit}${told}`)
  }

  /** Accounts and rosters. */
  private async storage(): Promise<void> {
    const { sessions, contacts } = this.size
    const { storage } = this.shared
    const before = await redisFigures(storage)
    const record = await writeAccounts(storage.url, sessions)
    await writeRosters(storage.url, sessions, contacts)
    const { memory } = redisUse(before, await redisFigures(storage))
    const predicted = storedBytes(sessions, contacts, record, NAMES)
    this.row('Redis: a stored account with its roster', 'bytes', memory / sessions, predicted / sessions)
  }

  /** Code that runs for the first time makes the heap grow. What the logins read is seen here, where nobody is online. */
  private async warmUp(): Promise<void> {
    const population = this.population!
    const before = await redisFigures(this.shared.storage)
    for (const place of this.processes.keys()) {
      const accounts = Array.from({ length: WARM_UP }, (_, account) => account)
      await population.logIn(accounts, () => place)
      for (const account of accounts) await population.leave(account)
    }
    const reads = redisUse(before, await redisFigures(this.shared.storage)).calls('hget')
    const logins = WARM_UP * this.processes.length
    this.row('login: reads of what is stored', 'commands', reads / logins, loginCost(this.size).stored)
    await sleep(SETTLE_MS)
  }

  /** Half of the sessions are anywhere but at the first process, which is told of them only; then come the others. */
  private async sessions(): Promise<void> {
    const { size, processes, shared } = this
    const { sessions, contacts } = size
    const population = this.population!
    const first = processes[0]!
    const order = this.shuffled(sessions)
    const half = sessions / 2
    const others = size.processes - 1
    await this.emptyStream()
    const before = await redisFigures(shared.cluster)
    const empty = await first.memory()
    const cpu = cpuSeconds(first.pid)
    await population.logIn(order.slice(0, half), (account) => 1 + (account % others))
    await sleep(SETTLE_MS)
    const cpuForeign = cpuSeconds(first.pid) - cpu
    const told = await first.memory()
    const foreign = directoryBytes(half, others, sessions, NAMES)
    this.row('process: a session elsewhere, heap', 'bytes', (told.heap - empty.heap) / half, foreign / half)
    this.row('process: a session elsewhere, resident', 'bytes', (told.resident - empty.resident) / half)
    this.row('process: a login elsewhere, CPU', 'µs', (cpuForeign * 1e6) / half)

    const share = Math.round(sessions / size.processes)
    const rest = order.slice(half)
    const places = new Map(rest.map((account, i) => [account, i < share ? 0 : 1 + (i % others)]))
    const start = await redisFigures(shared.cluster)
    const cpus = processes.map(({ pid }) => cpuSeconds(pid))
    const begin = performance.now()
    await population.logIn(rest, (account) => places.get(account)!)
    const seconds = (performance.now() - begin) / 1000
    await sleep(SETTLE_MS)
    const speed = redisUse(start, await redisFigures(shared.cluster))
    this.row('logins at full speed', 'a second', rest.length / seconds)
    this.row('login at full speed: commands', 'commands', clusterCommands(speed) / rest.length)
    const used = processes.reduce((sum, { pid }, i) => sum + cpuSeconds(pid) - cpus[i]!, 0)
    this.row('login at full speed: CPU of all processes', 'µs', (used * 1e6) / rest.length)
    this.row('login at full speed: CPU of Redis', 'µs', (speed.cpu * 1e6) / rest.length)
    const full = await first.memory()
    const own = full.heap - told.heap - (foreign / half) * (rest.length - share)
    const predicted = ownBytes(share, contacts, NAMES)
    this.row('process: a session of its own, heap', 'bytes', own / share, predicted / share)

    await this.emptyStream()
    const after = await redisFigures(shared.cluster)
    const memory = after.memory - before.memory
    const clustered = stateBytes(size, NAMES) + boundBytes(size, NAMES)
    this.row('Redis: a session, in the cluster', 'bytes', memory / sessions, clustered / sessions)
  }

  /** What is in the stream of changes has been read by everybody, and is gone within a minute: it is no session's. */
  private async emptyStream(): Promise<void> {
    await this.shared.cluster.cli('xtrim', CHANGES, 'maxlen', '0')
  }

  private async idle(): Promise<void> {
    const { processes, sessions } = this.size
    const before = await redisFigures(this.shared.storage)
    const cpus = this.processes.map(({ pid }) => cpuSeconds(pid))
    const use = await this.during(() => sleep(IDLE_MS))
    const used = this.processes.reduce((sum, { pid }, i) => sum + cpuSeconds(pid) - cpus[i]!, 0)
    const stored = redisUse(before, await redisFigures(this.shared.storage))
    const seconds = use.milliseconds / 1000
    this.row('idle: commands', 'a second', clusterCommands(use) / seconds, idleCommands(processes, LEASE))
    const reads = idleReads(processes, sessions)
    this.row('idle: reads of what is stored', 'a second', stored.calls('hget') / seconds, reads)
    this.row('idle: CPU of all processes', 'ms a second', (used * 1000) / seconds)
    this.row('idle: CPU of the Redis of the cluster', 'ms a second', (use.cpu * 1000) / seconds)
    this.row('idle: CPU of the Redis of the storage', 'ms a second', (stored.cpu * 1000) / seconds)
  }

  /** One at a time, with pauses: nothing shares a command. */
  private async logins(): Promise<void> {
    const { size } = this
    const population = this.population!
    const { cluster } = this.shared
    await this.emptyStream()
    population.ignore()
    const chosen = this.shuffled(size.sessions).slice(0, SINGLE)
    const online = 1 - SINGLE / 2 / size.sessions
    const alone = async (work: (account: number) => Promise<unknown>) => {
      for (const account of chosen) {
        await work(account)
        await sleep(APART_MS)
      }
    }
    const places = chosen.map((account) => population.places[account]!)
    const out = await this.during(() => alone((account) => population.leave(account)))
    const logout = logoutCost(size, online)
    this.row('logout alone: commands', 'commands', out.beyondIdle / SINGLE, logout.commands)
    this.row('logout alone: scripts', 'commands', out.scriptsBeyondIdle / SINGLE, logout.scripts)
    const into = await this.during(() =>
      alone((account) => population.enter(account, places[chosen.indexOf(account)]!)),
    )
    const login = loginCost(size, online)
    this.row('login alone: commands', 'commands', into.beyondIdle / SINGLE, login.commands)
    this.row('login alone: scripts', 'commands', into.scriptsBeyondIdle / SINGLE, login.scripts)
    const bytes = Number(await cluster.cli('memory', 'usage', CHANGES, 'samples', '0'))
    const changes = Number(await cluster.cli('xlen', CHANGES))
    this.row('Redis: a change in the stream', 'bytes', bytes / changes, changeBytes(size, NAMES))
    this.row('login and logout: changes', 'changes', changes / SINGLE, login.changes + logout.changes)
  }

  private async broadcasts(): Promise<void> {
    const { size } = this
    const population = this.population!
    const alone = new Broadcasts(population, size.sessions, size.contacts)
    const senders = this.shuffled(size.sessions)
    const use = await this.during(async () => {
      for (const sender of senders.slice(0, BROADCASTS)) {
        await alone.send(sender)
        await sleep(APART_MS)
      }
    })
    const cost = broadcastCost(size)
    this.row('broadcast alone: commands', 'commands', use.beyondIdle / BROADCASTS, cost.commands)
    this.row('broadcast alone: scripts', 'commands', use.scriptsBeyondIdle / BROADCASTS, cost.scripts)
    this.row('broadcast alone: stanzas across', 'stanzas', alone.across / BROADCASTS, cost.across)
    this.row('broadcast alone: bytes that Redis sends', 'bytes', use.sent / BROADCASTS)
    this.row('broadcast alone: until the last contact has it', 'ms', median(alone.times))

    const many = new Broadcasts(population, size.sessions, size.contacts)
    const count = Math.min(size.sessions, Math.ceil(DELIVERIES_AT_SPEED / size.contacts))
    const cpus = this.processes.map(({ pid }) => cpuSeconds(pid))
    const fast = await this.during(() =>
      many.sendAll(this.shuffled(size.sessions).slice(0, count), IN_FLIGHT),
    )
    const cpu = this.processes.reduce((sum, { pid }, i) => sum + cpuSeconds(pid) - cpus[i]!, 0)
    this.row(
      'broadcasts at full speed: deliveries',
      'a second',
      (count * size.contacts * 1000) / fast.milliseconds,
    )
    this.row(
      'broadcasts at full speed: commands for a stanza across',
      'commands',
      clusterCommands(fast) / many.across,
    )
    this.row(
      'broadcasts at full speed: CPU of Redis for a stanza across',
      'µs',
      (fast.cpu * 1e6) / many.across,
    )
    this.row('broadcasts at full speed: stanzas in an entry', 'stanzas', many.across / fast.calls('xadd'))
    this.row(
      'broadcasts at full speed: CPU of Redis for an entry',
      'µs',
      (fast.cpu * 1e6) / fast.calls('xadd'),
    )
    this.row(
      'broadcasts at full speed: CPU of processes for a delivery',
      'µs',
      (cpu * 1e6) / (count * size.contacts),
    )
  }

  /** Messages and delegated IQs between processes. */
  private async stanzas(): Promise<void> {
    const population = this.population!
    population.ignore()
    const { processes } = this.size
    const byPlace = this.processes.map((_, place) => population.at(place))
    const clients: Client[] = Array.from({ length: CLIENTS * processes }, (_, i) => {
      return population.clients[byPlace[i % processes]![Math.floor(i / processes)]!]!
    })
    const message = stanzaCost()
    const apart = await this.during(async () => {
      for (let i = 0; i < BROADCASTS; i++) {
        const from = clients[i % clients.length]!
        const to = clients[(i + 1) % clients.length]!
        from.connection.send(`<message to='${to.jid}'><body>Wherefore art thou?</body></message>`)
        await sleep(APART_MS)
      }
    })
    this.row('message alone: commands', 'commands', apart.beyondIdle / BROADCASTS, message.commands)
    const speed = await this.loop(clients, 'message', IN_FLIGHT * processes, OPERATIONS_AT_SPEED)
    this.row('messages at full speed: commands for one', 'commands', speed.commands)
    this.row('messages at full speed: CPU of Redis for one', 'µs', speed.cpu)

    const component = await connectComponent(this.processes.at(-1)!.componentPort, {
      jid: COMPONENT,
      secret: SECRET,
    })
    const askers = byPlace[0]!.slice(0, CLIENTS).map((account) => population.clients[account]!)
    const alone = await this.loop(askers, 'delegated-iq', 1, OPERATIONS_ALONE)
    this.row('delegated IQ, one at a time: commands', 'commands', alone.commands, delegatedCost().commands)
    this.row('delegated IQ, one at a time: CPU of Redis', 'µs', alone.cpu)
    this.row('delegated IQ, one at a time: reply time', 'ms', alone.p50)
    const fast = await this.loop(askers, 'delegated-iq', IN_FLIGHT * 4, OPERATIONS_AT_SPEED)
    this.row('delegated IQs at full speed: commands for one', 'commands', fast.commands)
    this.row('delegated IQs at full speed: CPU of Redis for one', 'µs', fast.cpu)
    component.connection.close()
    population.ignore()
  }

  private async loop(clients: readonly Client[], traffic: TrafficName, inFlight: number, operations: number) {
    const before = await redisFigures(this.shared.cluster)
    const result = await runClosedLoop(clients, {
      traffic,
      senders: clients.length,
      inFlight,
      pids: [this.shared.cluster.pid],
      warmUpCpuSeconds: 0.001,
      warmUpOperations: 0,
      windowCpuSeconds: 0,
      windowOperations: operations,
    })
    const use = redisUse(before, await redisFigures(this.shared.cluster))
    // The little that is sent before and after the window is in both.
    return {
      commands: clusterCommands(use) / result.operations,
      cpu: (use.cpu * 1e6) / result.operations,
      p50: result.p50,
    }
  }

  /** One more process joins: it is told of everything. */
  private async joining(): Promise<void> {
    const { sessions, processes } = this.size
    const alone = performance.now()
    const process = await LegateProcess.start(this.shared, 'late')
    this.row('a process joins: until it serves', 'ms', performance.now() - alone)
    const heap = (await process.memory()).heap
    const directory = directoryBytes(sessions, processes, sessions, NAMES)
    this.row('a process joins: heap of its directory', 'MB', (heap - this.fresh) / 1e6, directory / 1e6)
    await process.stop()
    await sleep(SETTLE_MS)
  }

  private async loss(): Promise<void> {
    const last = this.processes.length - 1
    const survivors = this.processes.slice(0, -1)
    const cpus = survivors.map(({ pid }) => cpuSeconds(pid))
    const {
      expected,
      heard,
      first,
      last: end,
    } = await loseProcess(
      this.population!,
      last,
      this.size.contacts,
      () => this.processes[last]!.kill(),
      QUIET_MS,
    )
    this.row('a process dies: contacts that have to hear of it', 'stanzas', expected)
    this.row('a process dies: those that did', 'stanzas', heard, expected)
    this.row('a process dies: the first hears of it after', 's', first / 1000)
    this.row('a process dies: from the first to the last', 's', (end - first) / 1000)
    const most = Math.max(...survivors.map(({ pid }, i) => cpuSeconds(pid) - cpus[i]!))
    this.row('a process dies: CPU of who tells them', 's', most)
    for (const { log } of survivors.map((process) => ({ log: process.log() }))) {
      const lines = log.split('\n').filter((line) => /error|dead/i.test(line))
      if (lines.length > 0) this.note(`  log: ${lines.slice(0, 5).join(' | ').slice(0, 600)}`)
    }
  }

  /** What Redis does meanwhile; what it would have done anyway is known. */
  private async during(work: () => Promise<unknown>) {
    const before = await redisFigures(this.shared.cluster)
    const begin = performance.now()
    await work()
    const milliseconds = performance.now() - begin
    const use: RedisUse = redisUse(before, await redisFigures(this.shared.cluster))
    const beats = (this.size.processes * 8 * milliseconds) / 1000 / LEASE
    // Who is told something all the time does not wait in vain.
    return {
      ...use,
      milliseconds,
      beyondIdle: clusterCommands(use) - beats,
      scriptsBeyondIdle: clusterScripts(use) - beats,
    }
  }

  private shuffled(count: number): number[] {
    const order = Array.from({ length: count }, (_, i) => i)
    for (let i = count - 1; i > 0; i--) {
      const j = Math.floor(this.random() * (i + 1))
      const other = order[j]!
      order[j] = order[i]!
      order[i] = other
    }
    return order
  }
}

/** A figure with three digits that matter. */
export function figure(value: number): string {
  return Math.abs(value) >= 100 ? String(Math.round(value)) : String(Number(value.toPrecision(3)))
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[sorted.length >> 1] ?? 0
}

/** The same numbers each time (mulberry32). */
function randomNumbers(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
