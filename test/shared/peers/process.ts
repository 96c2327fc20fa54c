// A server in a process of its own: started, waited for until its ports accept, stopped by its own id.
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { PortTaken } from '../ports.ts'

/** A server that {@link startServer} started. */
export interface ServerProcess {
  readonly pid: number
  /** What the process has written to stdout and stderr so far (the last megabyte of it). */
  log(): string
  /** Ends the process: SIGTERM, then SIGKILL after `graceMs`; done when it is gone. May be called twice. */
  stop(graceMs?: number): Promise<void>
}

/** What to start, and when it counts as started. */
export interface ServerCommand {
  /** For error messages. */
  name: string
  /** The program and its arguments. It must not put itself into the background. */
  command: readonly string[]
  cwd?: string
  env?: Record<string, string | undefined>
  /** Ports of 127.0.0.1 that accept connections once the server is ready. */
  ports: readonly number[]
  /** What it writes to stdout or stderr once it is ready, for a server that listens before it is. */
  ready?: string
  /** Milliseconds to wait for all of that. */
  timeoutMs?: number
}

const LOG_LIMIT = 1 << 20
const RETRY_MS = 25
const SETPRIV = '/usr/bin/setpriv'
const ADDRESS_IN_USE = /EADDRINUSE|address (already )?in use/i

/** Makes the system end a child when this process is killed, which no handler of ours sees; Linux only. */
export function dyingWithUs(): string[] {
  return existsSync(SETPRIV) ? [SETPRIV, '--pdeathsig', 'KILL', '--'] : []
}

/**
 * Starts a server and resolves when all its ports accept connections and it has said what it says when it is ready.
 * @throws PortTaken when it says that one of its ports is in use
 * @throws Error with the server's log when it ends early or does not get ready in time
 */
export async function startServer(server: ServerCommand): Promise<ServerProcess> {
  const [program, ...args] = [...dyingWithUs(), ...server.command]
  const child = spawn(program!, args, {
    cwd: server.cwd,
    env: server.env ?? process.env,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const stopped = untilStopped(child)
  let log = ''
  const collect = (text: string) => {
    log = (log + text).slice(-LOG_LIMIT)
  }
  child.stdout.setEncoding('utf8').on('data', collect)
  child.stderr.setEncoding('utf8').on('data', collect)

  // A test run that dies must not leave servers behind.
  const killWithUs = () => child.kill('SIGKILL')
  process.once('exit', killWithUs)
  void stopped.then(() => process.off('exit', killWithUs))

  const stop = async (graceMs = 5000) => {
    child.kill('SIGTERM')
    const timer = setTimeout(() => child.kill('SIGKILL'), graceMs)
    await stopped
    clearTimeout(timer)
  }

  const deadline = Date.now() + (server.timeoutMs ?? 20_000)
  let ended: string | undefined
  void stopped.then((how) => {
    ended = how
  })
  const goOn = async (lack: string) => {
    const busy = ADDRESS_IN_USE.test(log)
    if (ended === undefined && !busy && Date.now() < deadline) return
    await stop()
    if (busy) throw new PortTaken(`${server.name}: a port is taken\n${log}`)
    throw new Error(`${server.name} did not start: ${ended ?? `${lack} in time`}\n${log}`)
  }
  for (const port of server.ports) {
    while (!(await accepts(port))) await goOn(`port ${port} does not accept connections`)
  }
  while (server.ready !== undefined && !log.includes(server.ready)) {
    await goOn('it does not say that it is ready')
    await sleep(RETRY_MS)
  }
  // Somebody else's server may have answered in place of one that could not bind.
  if (ADDRESS_IN_USE.test(log)) {
    await stop()
    throw new PortTaken(`${server.name}: a port is taken\n${log}`)
  }
  return { pid: child.pid!, log: () => log, stop }
}

function untilStopped(child: ChildProcess): Promise<string> {
  return new Promise((resolve) => {
    child.once('error', (error) => resolve(error.message))
    child.once('exit', (code, signal) => resolve(signal ? `ended by ${signal}` : `ended with code ${code}`))
  })
}

/** Tries to connect once; a refusal is reported after a pause, so that callers can loop. */
function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => {
      socket.destroy()
      setTimeout(resolve, RETRY_MS, false)
    })
  })
}
