/** The admin channel: a socket in the data folder by which the command `legate` talks to the server that runs. */

import { lchownSync, lstatSync, mkdirSync, type Stats, statSync, unlinkSync } from 'node:fs'
import { createServer, type Server as NetServer, type Socket } from 'node:net'
import { dirname } from 'node:path'
import type { Logger } from '../log.ts'
import { ask, NobodyThere } from './ask.ts'
import {
  type AdminAnswer,
  AdminError,
  type AdminRequest,
  MOST_REQUEST_BYTES,
  PROTOCOL_VERSION,
  readRequest,
} from './protocol.ts'
import { type HeldPath, holdPath, socketPathOf } from './socket-path.ts'

/** What a command does; what it returns or resolves to goes to whoever asked, as JSON. */
export type AdminCommand = (request: AdminRequest) => unknown

/** Another server has the data folder. */
export class ServerRuns extends Error {
  override readonly name = 'ServerRuns'
}

/** Times and numbers that tests make smaller. */
export interface ChannelLimits {
  /** Milliseconds in which a request must have come. */
  readonly request?: number
  /** Milliseconds in which an answer must have been taken. */
  readonly answer?: number
  /** Open connections; of those beyond, the oldest are ended. */
  readonly connections?: number
}

const LIMITS: Required<ChannelLimits> = { request: 5000, answer: 10_000, connections: 32 }
/** Milliseconds that a server has to say that it is one. */
const PROBE_TIMEOUT = 2000
/** Tries to take the place of a socket that is left over. */
const MOST_TRIES = 3

/** Takes requests, one a connection. Only who may write in the data folder, its owner and root, can connect. */
export class AdminChannel {
  private readonly path: string
  private readonly limits: Required<ChannelLimits>
  private readonly server: NetServer
  /** Without a request yet, or with one that is worked on; the oldest first. */
  private readonly open = new Set<Socket>()
  private commands: ReadonlyMap<string, AdminCommand> = new Map()
  private log: Logger | undefined
  private held: HeldPath | undefined
  private file: Stats | undefined

  private constructor(path: string, limits: ChannelLimits) {
    this.path = path
    this.limits = { ...LIMITS, ...limits }
    // Half-open: who sends a line and closes still gets its answer.
    this.server = createServer({ allowHalfOpen: true }, (socket) => this.connected(socket))
  }

  /**
   * Opens the channel of a data folder, which is made if it is missing. A socket that a dead server left is replaced.
   *
   * @throws ServerRuns if another server has the folder, or the system's Error if there can be no socket
   */
  static async open(dataPath: string, limits: ChannelLimits = {}): Promise<AdminChannel> {
    const channel = new AdminChannel(socketPathOf(dataPath), limits)
    mkdirSync(dataPath, { recursive: true, mode: 0o700 })
    channel.held = holdPath(channel.path)
    try {
      await channel.claim(channel.held.path)
    } catch (error) {
      channel.held.release()
      throw error
    }
    return channel
  }

  /** Answers requests from now on. */
  serve(commands: Readonly<Record<string, AdminCommand>>, log: Logger): void {
    this.commands = new Map(Object.entries(commands))
    this.log = log
  }

  /** Takes no more requests, and removes the socket. */
  close(): void {
    if (this.isOurs()) this.server.close()
    else this.server.unref() // closing would remove what another server has put there
    this.file = undefined
    for (const socket of this.open) socket.destroy()
    this.held?.release()
    this.held = undefined
  }

  /** Removes the socket at once, at the end of the process. */
  remove(): void {
    if (this.isOurs()) unlinkSync(this.path)
  }

  private isOurs(): boolean {
    return this.file !== undefined && sameFile(this.file, statOf(this.path))
  }

  private async claim(path: string): Promise<void> {
    for (let tries = 1; ; tries++) {
      try {
        await this.listen(path)
        break
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE' || tries === MOST_TRIES) throw error
      }
      await this.clear(path)
    }
    // Root runs the server, and somebody else owns the folder: both may use the command.
    const { uid, gid } = statSync(dirname(this.path))
    if (process.geteuid?.() === 0 && uid !== 0) lchownSync(this.path, uid, gid)
    this.file = lstatSync(this.path)
    this.server.on('error', (error) => this.log?.warn('the command "legate" could not connect', { error }))
  }

  private listen(path: string): Promise<void> {
    return new Promise((resolve, reject) => {
      this.server.once('error', reject)
      const listening = (): void => {
        this.server.off('error', reject)
        resolve()
      }
      // The file is made within this call: at no time may others connect.
      const mask = process.umask(0o177)
      try {
        this.server.listen(path, listening)
      } finally {
        process.umask(mask)
      }
    })
  }

  /** Removes the socket of a server that has died. @throws ServerRuns if it lives */
  private async clear(path: string): Promise<void> {
    const before = statOf(this.path)
    if (before === undefined) return // it has gone just now
    if (!before.isSocket()) throw new Error(`${this.path} is there and is no socket: move it away`)
    try {
      const { process } = await ask(path, { command: 'ping' }, PROBE_TIMEOUT)
      throw new ServerRuns(
        `a server runs already with the data folder ${dirname(this.path)}, as process ${process}; ` +
          'end that one first, or give this one another data_path',
      )
    } catch (error) {
      if (error instanceof ServerRuns) throw error
      if (!(error instanceof NobodyThere)) {
        throw new ServerRuns(
          `a server seems to run already with the data folder ${dirname(this.path)}: its socket ${this.path} is ` +
            `in use, but gives no answer (${(error as Error).message}); end that one first, or remove the socket if ` +
            'there is none',
        )
      }
    }
    // A server that started meanwhile has made another.
    if (sameFile(before, statOf(this.path))) unlinkSync(this.path)
  }

  private connected(socket: Socket): void {
    // Whoever wants to keep others away with connections that say nothing only loses his own.
    for (const oldest of this.open) {
      if (this.open.size < this.limits.connections) break
      this.open.delete(oldest)
      oldest.destroy()
    }
    this.open.add(socket)
    const chunks: Buffer[] = []
    let bytes = 0
    const late = setTimeout(() => socket.destroy(), this.limits.request)
    const finish = (answer: string | Promise<string>): void => {
      clearTimeout(late)
      socket.off('data', read)
      socket.off('end', ended)
      socket.pause() // what comes after the line is not read
      void Promise.resolve(answer).then((line) => this.send(socket, line))
    }
    const ended = (): void => finish(this.answer(Buffer.concat(chunks)))
    const read = (chunk: Buffer): void => {
      const end = chunk.indexOf(0x0a)
      chunks.push(end === -1 ? chunk : chunk.subarray(0, end))
      bytes += chunks.at(-1)!.length
      if (bytes > MOST_REQUEST_BYTES) finish(refusal('the request is too long'))
      else if (end !== -1) finish(this.answer(Buffer.concat(chunks)))
    }
    socket.on('data', read)
    socket.once('end', ended)
    socket.on('error', () => {}) // it has gone: "close" follows
    socket.once('close', () => {
      clearTimeout(late)
      this.open.delete(socket)
    })
  }

  private send(socket: Socket, answer: string): void {
    if (socket.destroyed) return
    const late = setTimeout(() => socket.destroy(), this.limits.answer)
    socket.once('close', () => clearTimeout(late))
    // Its peer may go on writing for ever, so its end is not waited for.
    socket.end(`${answer}\n`, () => socket.destroy())
  }

  /** Never rejects: what fails here must not end the server. */
  private async answer(request: Buffer): Promise<string> {
    try {
      const read = readRequest(request.toString('utf8'))
      if (read.command === 'ping') return answered({ ok: true })
      const command = this.commands.get(read.command)
      if (command === undefined) throw new AdminError(`the server has no command "${read.command}"`)
      return answered({ ok: true, result: await command(read) })
    } catch (error) {
      if (error instanceof AdminError) return refusal(error.message)
      this.log?.error('a command to the server failed', { error, internal: true })
      return refusal('the command failed in the server; its log says why')
    }
  }
}

function answered(answer: Pick<AdminAnswer, 'ok' | 'error'> & { readonly result?: unknown }): string {
  return JSON.stringify({ legate: PROTOCOL_VERSION, process: process.pid, ...answer })
}

function refusal(error: string): string {
  return answered({ ok: false, error })
}

function statOf(path: string): Stats | undefined {
  return lstatSync(path, { throwIfNoEntry: false })
}

function sameFile(one: Stats, two: Stats | undefined): boolean {
  return two !== undefined && one.ino === two.ino && one.dev === two.dev
}
