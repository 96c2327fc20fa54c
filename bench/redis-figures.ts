// What Redis says of itself: how many commands it was given. Asked over a raw socket.
import { connect, type Socket } from 'node:net'

/** Commands so far, since Redis was started. */
export interface RedisCalls {
  /** Those that clients have sent: see {@link SCRIPTED}. */
  sent: number
  /** All that were run, also within scripts. */
  run: number
}

/**
 * Redis counts what a script runs like what a client sends. These are what Legate's scripts consist of, so they are
 * not taken for sent; who sends one of them by itself is found in `run`. INFO is the bench's own.
 */
const SCRIPTED: ReadonlySet<string> = new Set([
  ...['exists', 'expire', 'get', 'set', 'time', 'unlink'],
  ...['hdel', 'hexists', 'hget', 'hgetall', 'hincrby', 'hlen', 'hmget', 'hset', 'incr'],
  ...['xadd', 'xtrim'],
])
const OWN = 'info'

/** Reads the answer to `INFO commandstats`. */
export function readCalls(info: string): RedisCalls {
  const calls: RedisCalls = { sent: 0, run: 0 }
  for (const [, name, count] of info.matchAll(/^cmdstat_([^:]+):calls=(\d+)/gm)) {
    if (name === OWN) continue
    calls.run += Number(count)
    if (!SCRIPTED.has(name!)) calls.sent += Number(count)
  }
  return calls
}

/** What was added between two readings. */
export function callsBetween(before: RedisCalls, after: RedisCalls): RedisCalls {
  return { sent: after.sent - before.sent, run: after.run - before.run }
}

const QUESTION = '*2\r\n$4\r\nINFO\r\n$12\r\ncommandstats\r\n'

/** A connection to a Redis of 127.0.0.1. */
export class RedisFigures {
  private readonly socket: Socket
  private readonly waiting: { resolve(calls: RedisCalls): void; reject(error: Error): void }[] = []
  private text = ''
  private failure: Error | undefined

  private constructor(socket: Socket) {
    this.socket = socket
    socket.setEncoding('latin1').on('data', (chunk: string) => this.receive(chunk))
    socket.on('error', (error) => this.fail(error))
    socket.on('close', () => this.fail(new Error('Redis has closed the connection')))
  }

  /** Connects. @throws Error (as a rejection) if nobody listens */
  static open(port: number): Promise<RedisFigures> {
    return new Promise((resolve, reject) => {
      const socket = connect({ port, host: '127.0.0.1', noDelay: true })
      socket.once('error', reject)
      socket.once('connect', () => {
        socket.off('error', reject)
        resolve(new RedisFigures(socket))
      })
    })
  }

  /** As many as there are when Redis reads the question. */
  calls(): Promise<RedisCalls> {
    return new Promise((resolve, reject) => {
      if (this.failure !== undefined) return reject(this.failure)
      this.waiting.push({ resolve, reject })
      this.socket.write(QUESTION)
    })
  }

  close(): void {
    this.socket.destroy()
  }

  private receive(chunk: string): void {
    this.text += chunk
    for (;;) {
      // RESP: `$`, the length, a line end; the text; a line end.
      const begin = this.text.indexOf('\r\n') + 2
      if (begin < 2) return
      const length = Number(this.text.slice(1, begin - 2))
      if (!this.text.startsWith('$') || !Number.isInteger(length)) {
        this.fail(new Error(`Redis says: ${this.text.slice(0, 200)}`))
        return
      }
      if (this.text.length < begin + length + 2) return
      const info = this.text.slice(begin, begin + length)
      this.text = this.text.slice(begin + length + 2)
      this.waiting.shift()?.resolve(readCalls(info))
    }
  }

  private fail(error: Error): void {
    this.failure ??= error
    for (const { reject } of this.waiting.splice(0)) reject(this.failure)
    this.socket.destroy()
  }
}
