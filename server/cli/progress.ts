// Tells on standard error how far long work has come: on a terminal in one line, elsewhere now and then.

import { megabytes } from './text.ts'

/** Milliseconds between two lines: on a terminal, elsewhere. */
const ON_TERMINAL = 500
const ELSEWHERE = 10_000

/** How far something has come. */
export class Progress {
  private readonly describe: () => string
  private readonly terminal = process.stderr.isTTY === true
  private readonly timer: NodeJS.Timeout
  private shown = false

  /** @param describe - how far it has come, in a few words */
  constructor(describe: () => string) {
    this.describe = describe
    this.timer = setInterval(() => this.show(), this.terminal ? ON_TERMINAL : ELSEWHERE)
    this.timer.unref()
  }

  /** A line of its own. */
  tell(line: string): void {
    this.clear()
    console.error(line)
  }

  stop(): void {
    clearInterval(this.timer)
    this.clear()
  }

  private show(): void {
    if (!this.terminal) {
      console.error(this.describe())
      return
    }
    const width = (process.stderr.columns ?? 80) - 1
    process.stderr.write(`\r\u001b[K${this.describe().slice(0, width)}`)
    this.shown = true
  }

  private clear(): void {
    if (this.shown) process.stderr.write('\r\u001b[K')
    this.shown = false
  }
}

/** `12 % (120 MB of 1000 MB)`, or only what has been done where nobody knows how much it is. */
export function share(done: number, all: number | undefined): string {
  if (all === undefined || all === 0 || done > all) return megabytes(done)
  return `${Math.floor((done / all) * 100)} % (${megabytes(done)} of ${megabytes(all)})`
}
