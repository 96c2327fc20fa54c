// Programs with slixmpp (Debian's python3-slixmpp) as peers: test/interop/slixmpp_*.py, JSON lines both ways.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

/** Something that such a program has told; the script says which facts belong to which event. */
export interface SlixmppEvent {
  readonly event: string
  readonly [fact: string]: unknown
}

/** A running program. */
export interface SlixmppPeer {
  /** The next event of a name, told already or still to come. */
  next(event: string, fits?: (event: SlixmppEvent) => boolean): Promise<SlixmppEvent>
  /** Tells it to do something. */
  do(command: string, facts?: Record<string, unknown>): void
  /** Events that were told and that nobody has asked for. */
  readonly told: readonly SlixmppEvent[]
  /** Ends it in order, and by force if it does not end. */
  stop(): Promise<void>
}

const FORCE_MS = 5000

let found: string | null | undefined

/** The Python that has slixmpp; Debian's comes first, as the one in the PATH may be another. */
function python(): string | null {
  if (found === undefined) {
    const has = (program: string) => spawnSync(program, ['-c', 'import slixmpp']).status === 0
    found = ['/usr/bin/python3', 'python3'].find(has) ?? null
  }
  return found
}

/** Why slixmpp can not be used here, with the way out; undefined when it can. */
export function slixmppAvailable(): string | undefined {
  return python() === null ? 'no python3 here has slixmpp (apt-get install python3-slixmpp)' : undefined
}

/**
 * Starts a program of test/interop.
 *
 * @param script - its file name
 * @param options - `--name value` each; a value that is `true` stands for a switch
 */
export function startSlixmpp(script: string, options: Record<string, string | number | true>): SlixmppPeer {
  const path = fileURLToPath(new URL(`../../interop/${script}`, import.meta.url))
  const args = Object.entries(options).flatMap(([name, value]) =>
    value === true ? [`--${name}`] : [`--${name}`, String(value)],
  )
  const child = spawn(python() ?? 'python3', ['-B', path, ...args], { stdio: ['pipe', 'pipe', 'pipe'] })
  return new Peer(child, script)
}

type Waiting = { fits: (event: SlixmppEvent) => boolean; resolve: (event: SlixmppEvent) => void }

class Peer implements SlixmppPeer {
  readonly told: SlixmppEvent[] = []
  private readonly child: ChildProcess
  private readonly script: string
  private readonly waiting: Waiting[] = []
  private readonly ended: Promise<void>
  private errors = ''

  constructor(child: ChildProcess, script: string) {
    this.child = child
    this.script = script
    this.ended = new Promise((resolve) => child.once('close', () => resolve()))
    const killWithUs = () => child.kill('SIGKILL')
    process.once('exit', killWithUs)
    void this.ended.then(() => process.off('exit', killWithUs))
    child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      this.errors = (this.errors + text).slice(-10_000)
    })
    // It may have ended when a command is written.
    child.stdin!.on('error', () => {})
    createInterface({ input: child.stdout! }).on('line', (line) =>
      this.heard(JSON.parse(line) as SlixmppEvent),
    )
  }

  next(name: string, fits: (event: SlixmppEvent) => boolean = () => true): Promise<SlixmppEvent> {
    const wanted = (event: SlixmppEvent) => event.event === name && fits(event)
    const index = this.told.findIndex(wanted)
    if (index >= 0) return Promise.resolve(this.told.splice(index, 1)[0]!)
    return new Promise((resolve, reject) => {
      this.waiting.push({ fits: wanted, resolve })
      void this.ended.then(() => {
        reject(new Error(`${this.script} ended without "${name}"; it told ${this.history()}\n${this.errors}`))
      })
    })
  }

  do(command: string, facts: Record<string, unknown> = {}): void {
    this.child.stdin!.write(`${JSON.stringify({ do: command, ...facts })}\n`)
  }

  async stop(): Promise<void> {
    this.child.stdin!.end()
    const timer = setTimeout(() => this.child.kill('SIGKILL'), FORCE_MS)
    await this.ended
    clearTimeout(timer)
  }

  private heard(event: SlixmppEvent): void {
    const index = this.waiting.findIndex(({ fits }) => fits(event))
    if (index < 0) this.told.push(event)
    else this.waiting.splice(index, 1)[0]!.resolve(event)
  }

  private history(): string {
    return JSON.stringify(this.told)
  }
}
