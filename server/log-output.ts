// Where records end up: the console, and files that logrotate may move.
import { closeSync, openSync, writeSync } from 'node:fs'
import type { Writable } from 'node:stream'
import type { Level, LogRule } from './log-option.ts'
import { escapeUnsafe, formatRecord, type LogRecord } from './log-text.ts'

export interface Output {
  readonly colours: boolean
  write(line: string): void
}

export interface Sink {
  rule: LogRule
  output: Output
}

/** What pino writes to: gives each record to the sinks that want its level, in their form. */
export class Dispatcher {
  readonly #sinks: readonly Sink[]
  readonly #format: 'text' | 'json'
  #open = true

  constructor(sinks: readonly Sink[], format: 'text' | 'json') {
    this.#sinks = sinks
    this.#format = format
  }

  write(line: string): void {
    if (!this.#open) return
    const record = JSON.parse(line) as LogRecord
    const json = this.#format === 'json' ? `${escapeUnsafe(line.trimEnd())}\n` : undefined
    for (const { rule, output } of this.#sinks) {
      if (!rule.levels.has(record.level as Level)) continue
      output.write(json ?? formatRecord(record, { timestamps: rule.timestamps, colours: output.colours }))
    }
  }

  close(): void {
    this.#open = false
  }
}

export class ConsoleOutput implements Output {
  readonly colours: boolean
  readonly #stream: Writable
  readonly #onError = (): void => {}

  constructor(stream: Writable & { isTTY?: boolean }) {
    this.#stream = stream
    this.colours = stream.isTTY === true && !process.env['NO_COLOR']
    // Who read our output has gone (EPIPE): no reason to end the server
    stream.on('error', this.#onError)
  }

  write(line: string): void {
    if (this.#stream.writable) this.#stream.write(line)
  }

  async close(): Promise<void> {
    if (this.#stream.writable) await new Promise<void>((done) => this.#stream.write('', () => done()))
    this.#stream.off('error', this.#onError)
  }
}

/** A file, written at once: what was logged before the process dies is in it. */
export class FileOutput implements Output {
  readonly path: string
  readonly colours = false
  #descriptor: number
  #failing = false

  constructor(path: string) {
    this.path = path
    this.#descriptor = open(path)
  }

  write(line: string): void {
    const bytes = Buffer.from(line)
    try {
      for (let written = 0; written < bytes.length; ) {
        written += writeSync(this.#descriptor, bytes, written)
      }
      this.#failing = false
    } catch (error) {
      // A full disk: the server goes on without its log, and says so once where somebody may see it
      if (!this.#failing)
        process.stderr.write(`log file ${this.path} can not be written: ${messageOf(error)}\n`)
      this.#failing = true
    }
  }

  reopen(): void {
    const fresh = open(this.path)
    closeSync(this.#descriptor)
    this.#descriptor = fresh
  }

  close(): void {
    closeSync(this.#descriptor)
  }
}

function open(path: string): number {
  // Not for everybody: logs have addresses of people
  return openSync(path, 'a', 0o640)
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
