// A Prosody (0.12, Debian's prosody and prosody-modules) of our own: temporary folder, free ports.
import { createHash, createHmac, pbkdf2Sync, randomUUID } from 'node:crypto'
import { existsSync, rmSync } from 'node:fs'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { retryPorts } from '../ports.ts'
import { type ServerProcess, startServer } from './process.ts'
import { type ComponentSection, configText, type LuaOptions, luaText } from './prosody-config.ts'

/** Where Debian keeps the modules of both packages. */
const MODULES = '/usr/lib/prosody/modules'

const DEFAULT_MODULES = [
  'roster',
  'saslauth',
  'disco',
  'ping',
  'presence',
  'message',
  'iq',
  'c2s',
  'component',
]

/** An account to be there from the start. */
export interface ProsodyAccount {
  user: string
  host: string
  password: string
}

/** What the Prosody to start should be. */
export interface ProsodyOptions {
  /** VirtualHosts by name, with their options. */
  hosts: Readonly<Record<string, LuaOptions>>
  /** Components by name. */
  components?: Readonly<Record<string, ComponentSection>>
  accounts?: readonly ProsodyAccount[]
  /**
   * How passwords are kept: `plain` (internal_plain) makes PLAIN cheap, and SCRAM dear, since its keys are derived at
   * each login; with `scram` (internal_hashed, Prosody's default), it is the other way round. `plain` when left out.
   */
  passwords?: 'plain' | 'scram'
  /** Files in PEM; with them STARTTLS is offered, and not required. */
  tls?: { key: string; certificate: string }
  /** Modules beside those that every server needs. */
  modules?: readonly string[]
  /** Further options of the whole server; they win over ours. */
  globals?: LuaOptions
  /** Put before the command, e.g. `['taskset', '-c', '0']`. */
  launcher?: readonly string[]
}

/** A running Prosody. */
export interface ProsodyPeer {
  readonly pid: number
  readonly c2sPort: number
  readonly componentPort: number
  /** Its folder: configuration and data. */
  readonly directory: string
  log(): string
  /** Ends it and removes its folder. */
  stop(): Promise<void>
}

/** Why Prosody can not be started here, with the way out; undefined when it can. */
export function prosodyAvailable(): string | undefined {
  const folders = (process.env['PATH'] ?? '').split(delimiter)
  if (!folders.some((folder) => existsSync(join(folder, 'prosody')))) {
    return 'prosody is not installed (apt-get install prosody prosody-modules)'
  }
  if (!existsSync(join(MODULES, 'mod_delegation'))) {
    return `${MODULES}/mod_delegation is missing (apt-get install prosody-modules)`
  }
  return undefined
}

/**
 * Starts a Prosody on free ports of 127.0.0.1 and waits until they accept.
 * @throws Error with Prosody's log when it does not start
 */
export async function startProsody(options: ProsodyOptions): Promise<ProsodyPeer> {
  const directory = await mkdtemp(join(tmpdir(), 'legate-prosody-'))
  const file = join(directory, 'prosody.cfg.lua')
  const removeAtExit = () => rmSync(directory, { recursive: true, force: true })
  process.once('exit', removeAtExit)
  const removeDirectory = async () => {
    process.off('exit', removeAtExit)
    await rm(directory, { recursive: true, force: true })
  }
  try {
    await writeAccounts(directory, options)
    return await retryPorts(2, async ([c2sPort, componentPort]) => {
      await writeFile(file, configuration(options, directory, c2sPort!, componentPort!))
      const server: ServerProcess = await startServer({
        name: 'Prosody',
        command: [...(options.launcher ?? []), 'prosody', '--config', file, '-F'],
        ports: [c2sPort!, componentPort!],
      })
      const stop = async () => {
        await server.stop()
        await removeDirectory()
      }
      return { ...server, c2sPort: c2sPort!, componentPort: componentPort!, directory, stop }
    })
  } catch (error) {
    await removeDirectory()
    throw error
  }
}

function configuration(options: ProsodyOptions, directory: string, c2s: number, component: number): string {
  return configText({
    globals: {
      run_as_root: true,
      daemonize: false,
      pidfile: join(directory, 'prosody.pid'),
      data_path: directory,
      certificates: directory,
      plugin_paths: [MODULES],
      log: { warn: '*console' },
      modules_enabled: [...DEFAULT_MODULES, ...(options.tls ? ['tls'] : []), ...(options.modules ?? [])],
      modules_disabled: ['s2s'],
      c2s_require_encryption: false,
      allow_unencrypted_plain_auth: true,
      authentication: options.passwords === 'scram' ? 'internal_hashed' : 'internal_plain',
      storage: 'internal',
      limits: {},
      interfaces: ['127.0.0.1'],
      c2s_ports: [c2s],
      component_ports: [component],
      ...(options.tls && { ssl: options.tls }),
      ...options.globals,
    },
    hosts: options.hosts,
    components: options.components,
  })
}

/** Writes accounts as Prosody's `internal` storage keeps them: `prosodyctl register` takes 100 ms for each. */
async function writeAccounts(directory: string, { accounts, passwords }: ProsodyOptions): Promise<void> {
  const records = new Map<string, string>()
  for (const { user, host, password } of accounts ?? []) {
    // Accounts with one password share its salt: to derive keys for each of hundreds would take seconds.
    let record = records.get(password)
    if (record === undefined) {
      record = `return ${luaText(passwords === 'scram' ? scramRecord(password) : { password })}\n`
      records.set(password, record)
    }
    const folder = join(directory, fileName(host), 'accounts')
    await mkdir(folder, { recursive: true })
    await writeFile(join(folder, `${fileName(user)}.dat`), record)
  }
}

/** As Prosody's default_iteration_count. */
const ITERATIONS = 10_000

/** What mod_auth_internal_hashed keeps of a password (in ASCII: it is not prepared): the keys of RFC 5802 §3. */
function scramRecord(password: string): LuaOptions {
  const salt = randomUUID()
  const salted = pbkdf2Sync(password, salt, ITERATIONS, 20, 'sha1')
  const key = (name: string) => createHmac('sha1', salted).update(name).digest()
  return {
    salt,
    iteration_count: ITERATIONS,
    stored_key: createHash('sha1').update(key('Client Key')).digest('hex'),
    server_key: key('Server Key').toString('hex'),
  }
}

/** Names of hosts and users as its files spell them: all but ASCII letters and digits as %xx. */
function fileName(name: string): string {
  return [...Buffer.from(name)]
    .map((byte) => {
      const character = String.fromCharCode(byte)
      return /[A-Za-z0-9]/.test(character) ? character : `%${byte.toString(16).padStart(2, '0')}`
    })
    .join('')
}
