/** A member of a cluster that writes down what its bus tells it; and the same as a process of its own. */

import { type ChildProcess, fork } from 'node:child_process'
import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Bus, BusHandler, Member } from '../../server/cluster/bus.ts'
import { RedisBus } from '../../server/cluster/redis-bus.ts'
import type { ClusterConnection } from '../../server/cluster/store.ts'
import { silentLogger } from '../../server/log.ts'
import { RedisConnection } from '../../server/redis/index.ts'
import { redisSettings } from './redis-settings.ts'

/** What a bus told, as words. */
export type Told = readonly [what: string, ...details: string[]]

/** What was told, and how to wait for more. */
export class Record {
  readonly told: Told[] = []
  private readonly waiting = new Set<() => void>()

  add(...told: Told): void {
    this.told.push(told)
    for (const look of [...this.waiting]) look()
  }

  /** The details of everything of one kind. */
  of(what: string): string[][] {
    return this.told.filter(([kind]) => kind === what).map(([, ...details]) => details)
  }

  count(what: string, ...details: string[]): number {
    return this.told.filter(([kind, ...d]) => kind === what && details.every((x, i) => d[i] === x)).length
  }

  /** Waits until something holds; looked at whenever something is told. */
  until(what: string, holds: () => boolean, ms = 15_000): Promise<void> {
    return new Promise((resolve, reject) => {
      const look = () => {
        if (!holds()) return
        clearTimeout(timer)
        this.waiting.delete(look)
        resolve()
      }
      const timer = setTimeout(() => {
        this.waiting.delete(look)
        const last = this.told.slice(-20).map((told) => told.join(' ').slice(0, 100))
        reject(
          new Error(`in ${ms} ms it did not come to pass that ${what}; the last were:\n${last.join('\n')}`),
        )
      }, ms)
      this.waiting.add(look)
      look()
    })
  }
}

/** How a member is opened. */
export interface MemberOptions {
  readonly name: string
  /** The option `redis`. */
  readonly redis: globalThis.Record<string, unknown>
  readonly lease?: number
  /** In place of connections of the server's. */
  readonly connect?: (purpose: string, blocking: number) => ClusterConnection
}

/** One of several members in this process. */
export class TestMember extends Record implements BusHandler {
  readonly name: string
  readonly bus: Bus
  /** What everybody else holds, by name of the member and key. */
  readonly held = new Map<string, Map<string, string>>()
  /** What becomes of a message; by default it is done at once. */
  work: (text: string) => void | Promise<void> = () => {}
  /** Publishes anew what this one holds. */
  atExpulsion: () => void = () => {}

  constructor({ name, redis, lease = 1, connect }: MemberOptions) {
    super()
    this.name = name
    const settings = redisSettings(redis)
    const info = { name, pid: process.pid, since: 0, version: 'test', tag: name }
    this.bus = new RedisBus({
      connect:
        connect ??
        ((purpose, blocking) => new RedisConnection(settings, { purpose, blocking, log: silentLogger })),
      prefix: settings.prefix,
      lease,
      info,
      log: silentLogger,
    })
  }

  static async open(options: MemberOptions): Promise<TestMember> {
    const member = new TestMember(options)
    await member.bus.join(member)
    return member
  }

  /** The id of another member, by its name. */
  idOf(name: string): string {
    for (const { id, info } of this.bus.members.values()) if (info.name === name) return id
    throw new Error(`${this.name} knows of no ${name}`)
  }

  knows(name: string): boolean {
    return [...this.bus.members.values()].some(({ info }) => info.name === name)
  }

  /** Sends a message; `lost TEXT` is told if it is lost. */
  send(to: string, text: string): void {
    this.bus.send(to, text, { lost: () => this.add('lost', text) })
  }

  get unacknowledged(): number {
    return this.bus.state().members.reduce((sum, { unacknowledged }) => sum + unacknowledged, 0)
  }

  joined({ info }: Member): void {
    this.held.set(info.name, new Map())
    this.add('joined', info.name)
  }

  left({ info }: Member, orderly: boolean, entries: ReadonlyMap<string, string>): void {
    this.held.delete(info.name)
    const list = [...entries].map(([key, value]) => `${key}=${value}`)
    this.add('left', info.name, orderly ? 'orderly' : 'dead', ...list)
  }

  changed({ info }: Member, key: string, value: string | undefined): void {
    const entries = this.held.get(info.name)
    if (value === undefined) entries?.delete(key)
    else entries?.set(key, value)
    this.add('changed', info.name, key, value ?? '-')
  }

  received({ info }: Member, text: string): void | Promise<void> {
    this.add('received', info.name, text)
    return this.work(text)
  }

  expelled(): void {
    this.held.clear()
    this.add('expelled')
    this.atExpulsion()
  }

  congested({ info }: Member, is: boolean): void {
    this.add('congested', info.name, String(is))
  }
}

const PROGRAM = fileURLToPath(new URL('../fixtures/cluster/member.js', import.meta.url))
const BUILT = new URL('../../dist/server/', import.meta.url)

/** A member that is a process of its own, which can be killed, or stopped for a while. It runs what is built. */
export class MemberProcess extends Record {
  private readonly child: ChildProcess
  readonly pid: number

  private readonly folder: string

  private constructor(child: ChildProcess, folder: string) {
    super()
    this.child = child
    this.folder = folder
    this.pid = child.pid!
    child.on('message', (told) => this.add(...(told as Told)))
    child.on('exit', () => this.add('exit'))
  }

  static async open({ name, redis, lease = 1 }: MemberOptions): Promise<MemberProcess> {
    if (!existsSync(new URL('cluster/redis-bus.js', BUILT))) {
      throw new Error('the server is not built: run "npm run build"')
    }
    const { place, prefix } = redisSettings(redis)
    const settings = { place, prefix, db: 0, waitReplicas: 0, directory: process.cwd() }
    const options = { built: BUILT.href, name, settings, lease }
    const folder = mkdtempSync(join(tmpdir(), 'legate-member-'))
    const file = openSync(join(folder, 'received'), 'w')
    const child = fork(PROGRAM, [JSON.stringify(options)], {
      stdio: ['inherit', 'inherit', 'inherit', file, 'ipc'],
      execArgv: [],
    })
    closeSync(file)
    const member = new MemberProcess(child, folder)
    await member.until('it has joined', () => member.count('ready') > 0 || member.count('exit') > 0)
    if (member.count('exit') > 0) throw new Error(`${name} has ended early`)
    return member
  }

  /** The id under which it has joined at first. */
  get id(): string {
    return this.of('ready')[0]![0]!
  }

  /** The messages that were handed over, also just before it was killed. */
  get handedOver(): string[] {
    return readFileSync(join(this.folder, 'received'), 'utf8').split('\n').slice(0, -1)
  }

  publish(key: string, value?: string): void {
    this.child.send(['publish', key, value])
  }

  /** Sends messages `TEXT 0` and so on to another member. */
  send(to: string, text: string, count = 1): void {
    this.child.send(['send', to, text, count])
  }

  /** Leaves, and waits for nothing more. */
  leave(): void {
    this.child.send(['leave'])
  }

  kill(signal: NodeJS.Signals = 'SIGKILL'): void {
    this.child.kill(signal)
  }

  async end(): Promise<void> {
    if (this.child.exitCode === null && this.child.signalCode === null) {
      this.child.kill('SIGCONT')
      this.child.kill('SIGKILL')
      await this.until('it has ended', () => this.count('exit') > 0)
    }
    rmSync(this.folder, { recursive: true, force: true })
  }
}
