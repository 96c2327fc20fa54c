// A program with a screen, in a terminal of 160 columns: keys go in, and what a person would see is read back.
// tmux is the terminal; its control mode tells of everything that the program writes.
import { type ChildProcessWithoutNullStreams, spawn, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'

const WIDTH = 160
/** Nothing that a test looks for is to scroll away. */
const HEIGHT = 100
const PATIENCE_MS = 30_000
/** More than any shell of tmux's own takes to end. */
const FORCE_MS = 5000

/** What a screen must have to fit. */
export type OnScreen = string | RegExp | ((screen: string) => boolean)

/** Why there is no terminal here, with the way out; undefined when there is one. */
export function terminalAvailable(): string | undefined {
  if (spawnSync('tmux', ['-V']).status === 0) return undefined
  return 'tmux, in which terminal programs are run, is not installed (apt-get install tmux)'
}

interface Answer {
  resolve: (lines: string[]) => void
  reject: (error: Error) => void
}

/** A running program, and its screen. */
export class Terminal {
  private readonly name: string
  private readonly folder: string
  private readonly tmux: ChildProcessWithoutNullStreams
  private readonly ended: Promise<void>
  private over = false
  /** Commands of tmux that have no answer yet, oldest first. The first is our being attached. */
  private readonly asked: Answer[] = [{ resolve: () => {}, reject: () => {} }]
  /** The answer that is arriving. */
  private block: { end: string; lines: string[] } | undefined
  private readonly lookers = new Set<() => void>()
  private errors = ''

  /**
   * Starts a program.
   * @param command - the program and its arguments, for the shell
   * @param environment - all of it; TERM is ours
   */
  constructor(command: string, environment: Record<string, string | undefined>) {
    this.name = command
    this.folder = mkdtempSync(join(tmpdir(), 'legate-tmux-'))
    const size = ['-x', String(WIDTH), '-y', String(HEIGHT)]
    const args = ['-u', '-S', join(this.folder, 'socket'), '-f', '/dev/null', '-C', 'new-session', ...size]
    this.tmux = spawn('tmux', [...args, command], { env: environment })
    this.ended = new Promise((resolve) => {
      this.tmux.once('close', () => {
        this.over = true
        for (const { reject } of this.asked.splice(0)) reject(this.gone())
        for (const look of [...this.lookers]) look()
        rmSync(this.folder, { recursive: true, force: true })
        resolve()
      })
    })
    this.tmux.on('error', () => {})
    this.tmux.stdin.on('error', () => {})
    this.tmux.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.errors += text
    })
    createInterface({ input: this.tmux.stdout.setEncoding('utf8') }).on('line', (line) => this.heard(line))
    // tmux ends the session, and with it the program, once nobody looks: also when this process is killed.
    void this.ask('set-option -g destroy-unattached on').catch(() => {})
  }

  /** What the screen shows, without what is left of its lines. */
  async screen(): Promise<string> {
    return (await this.ask('capture-pane -p')).map((line) => line.trimEnd()).join('\n')
  }

  /** Waits until the screen fits, and returns it. @throws Error with the screen when it does not in time */
  async shows(what: OnScreen): Promise<string> {
    const fits = (screen: string): boolean =>
      typeof what === 'string'
        ? screen.includes(what)
        : what instanceof RegExp
          ? what.test(screen)
          : what(screen)
    let late = false
    let wake: (() => void) | undefined
    const look = () => wake?.()
    this.lookers.add(look)
    const timer = setTimeout(() => {
      late = true
      look()
    }, PATIENCE_MS)
    try {
      for (;;) {
        const changed = new Promise<void>((resolve) => {
          wake = resolve
        })
        const screen = await this.screen()
        if (fits(screen)) return screen
        if (late || this.over) throw new Error(`the screen does not show ${String(what)}, but:\n${screen}`)
        await changed
      }
    } finally {
      clearTimeout(timer)
      this.lookers.delete(look)
    }
  }

  /** Types a line and presses Enter. */
  async enter(line: string): Promise<void> {
    await this.ask(`send-keys -l -- ${quoted(line)}`)
    await this.ask('send-keys Enter')
  }

  /** Ends the program as closing its window does, and by force if it does not end. */
  async stop(): Promise<void> {
    this.tmux.stdin.end()
    const timer = setTimeout(() => this.tmux.kill('SIGKILL'), FORCE_MS)
    await this.ended
    clearTimeout(timer)
  }

  /** Waits until the program has ended by itself. */
  closed(): Promise<void> {
    return this.ended
  }

  private ask(command: string): Promise<string[]> {
    if (this.over) return Promise.reject(this.gone())
    return new Promise((resolve, reject) => {
      this.asked.push({ resolve, reject })
      this.tmux.stdin.write(`${command}\n`)
    })
  }

  private gone(): Error {
    return new Error(`${this.name} has ended, or tmux: ${this.errors}`)
  }

  /** One line of control mode: `%begin` to `%end` (or `%error`) is an answer, the rest are notifications. */
  private heard(line: string): void {
    const { block } = this
    if (block === undefined) {
      if (line.startsWith('%begin ')) this.block = { end: line.slice('%begin '.length), lines: [] }
      else if (line.startsWith('%output ')) for (const look of [...this.lookers]) look()
      return
    }
    const failed = line === `%error ${block.end}`
    if (!failed && line !== `%end ${block.end}`) {
      block.lines.push(line)
      return
    }
    this.block = undefined
    const answer = this.asked.shift()
    if (failed) answer?.reject(new Error(`tmux: ${block.lines.join('\n')}`))
    else answer?.resolve(block.lines)
  }
}

/** A word for tmux, in which nothing means anything. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", `'"'"'`)}'`
}
