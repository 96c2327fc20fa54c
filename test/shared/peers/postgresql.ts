// A PostgreSQL (Debian's postgresql) of our own: temporary folder, free port, everybody on the loopback trusted.
import { type ExecFileException, execFile } from 'node:child_process'
import { chownSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { retryPorts } from '../ports.ts'
import { type ServerProcess, startServer } from './process.ts'

/** Debian has a folder for every version here. */
const VERSIONS = '/usr/lib/postgresql'
/** The account that Debian's package makes; PostgreSQL does not run as root. */
const ACCOUNT = 'postgres'
/** The user of the databases. */
const DB_USER = 'postgres'
/** Nothing in here is to outlive the tests. */
const CARELESS = ['-c', 'fsync=off', '-c', 'synchronous_commit=off', '-c', 'full_page_writes=off']

/** A running PostgreSQL. */
export interface PostgresqlPeer {
  readonly pid: number
  /** Of 127.0.0.1. */
  readonly port: number
  /** May do everything, without a password. */
  readonly user: string
  log(): string
  /**
   * Makes a database.
   *
   * @param schema - a file of SQL that fills it
   * @throws Error with what PostgreSQL said
   */
  createDatabase(name: string, schema: string): Promise<void>
  /** Ends it, also where somebody is connected, and removes its folder. */
  stop(): Promise<void>
}

/** Where the programs of the newest version are. */
function programs(): string | undefined {
  if (!existsSync(VERSIONS)) return undefined
  const versions = readdirSync(VERSIONS).sort((a, b) => Number(b) - Number(a))
  return versions
    .map((version) => join(VERSIONS, version, 'bin'))
    .find((bin) => existsSync(join(bin, 'initdb')))
}

/** uid and gid of the package's account. */
function account(): { uid: number; gid: number } | undefined {
  const fields = new RegExp(`^${ACCOUNT}:.*$`, 'm').exec(readFileSync('/etc/passwd', 'utf8'))?.[0].split(':')
  return fields && { uid: Number(fields[2]), gid: Number(fields[3]) }
}

const isRoot = process.geteuid?.() === 0

/** Why PostgreSQL can not be started here, with the way out; undefined when it can. */
export function postgresqlAvailable(): string | undefined {
  if (programs() === undefined) {
    return `no version of PostgreSQL has initdb in ${VERSIONS} (apt-get install postgresql)`
  }
  if (isRoot && account() === undefined) {
    return `PostgreSQL does not run as root, and there is no account ${ACCOUNT} (apt-get install postgresql)`
  }
  return undefined
}

/**
 * What makes a command run as somebody whom PostgreSQL runs for. A change of user takes away what the test's
 * harness has asked of the system, to end the program with the test run, so that is asked for again.
 */
function asAccount(command: readonly string[]): string[] {
  if (!isRoot) return [...command]
  const user = ['--reuid', ACCOUNT, '--regid', ACCOUNT, '--clear-groups']
  return ['/usr/bin/setpriv', ...user, '--pdeathsig', 'KILL', '--', ...command]
}

const execute = promisify(execFile)

/** Runs a program to its end. @throws Error with what it said */
async function run(command: readonly string[]): Promise<void> {
  const [program, ...args] = command
  try {
    // The folder that the tests run in may be closed to the account.
    await execute(program!, args, { cwd: '/' })
  } catch (error) {
    throw new Error(`${program} failed: ${(error as ExecFileException & { stderr: string }).stderr}`)
  }
}

/**
 * Starts a PostgreSQL on a free port of 127.0.0.1 and waits until it answers. It takes a second or two: share
 * it.
 *
 * @throws Error with PostgreSQL's log when it does not start
 */
export async function startPostgresql(): Promise<PostgresqlPeer> {
  const bin = programs()
  if (bin === undefined) throw new Error(postgresqlAvailable())
  const directory = mkdtempSync(join(tmpdir(), 'legate-postgresql-'))
  const removeAtExit = () => rmSync(directory, { recursive: true, force: true })
  process.once('exit', removeAtExit)
  const removeDirectory = async () => {
    process.off('exit', removeAtExit)
    await rm(directory, { recursive: true, force: true })
  }
  try {
    const owner = isRoot ? account() : undefined
    if (owner !== undefined) chownSync(directory, owner.uid, owner.gid)
    const data = join(directory, 'data')
    const locale = ['--locale=C.UTF-8', '--encoding=UTF8']
    const options = ['-A', 'trust', '-U', DB_USER, '--no-sync', '--no-instructions', ...locale]
    await run(asAccount([join(bin, 'initdb'), '-D', data, ...options]))
    return await retryPorts(1, async ([port]) => {
      const place = ['-D', data, '-p', String(port), '-k', directory, '-c', 'listen_addresses=127.0.0.1']
      const server = await startServer({
        name: 'PostgreSQL',
        command: asAccount([join(bin, 'postgres'), ...place, ...CARELESS]),
        cwd: '/',
        ports: [port!],
      })
      return new Postgresql(server, bin, port!, removeDirectory)
    })
  } catch (error) {
    await removeDirectory()
    throw error
  }
}

class Postgresql implements PostgresqlPeer {
  readonly user = DB_USER
  readonly port: number
  private readonly server: ServerProcess
  private readonly bin: string
  private readonly removeDirectory: () => Promise<void>

  constructor(server: ServerProcess, bin: string, port: number, removeDirectory: () => Promise<void>) {
    this.server = server
    this.bin = bin
    this.port = port
    this.removeDirectory = removeDirectory
  }

  get pid(): number {
    return this.server.pid
  }

  log(): string {
    return this.server.log()
  }

  async createDatabase(name: string, schema: string): Promise<void> {
    const where = ['-h', '127.0.0.1', '-p', String(this.port), '-U', this.user]
    await run([join(this.bin, 'createdb'), ...where, name])
    const strict = ['-v', 'ON_ERROR_STOP=1', '-q']
    await run([join(this.bin, 'psql'), ...where, ...strict, '-d', name, '-f', schema])
  }

  async stop(): Promise<void> {
    // SIGTERM alone lets it wait for everybody who is connected.
    try {
      process.kill(this.server.pid, 'SIGINT')
    } catch {
      // It has ended already.
    }
    await this.server.stop()
    await this.removeDirectory()
  }
}
