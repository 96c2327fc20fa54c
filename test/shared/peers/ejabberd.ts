// An ejabberd (Debian's package) of our own: temporary folder, free ports. It is started as one Erlang node without
// distribution, so there is no epmd, no cookie, and no port but the two of XMPP.
import { existsSync, readdirSync, rmSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { retryPorts } from '../ports.ts'
import { startServer } from './process.ts'

/** Debian has a folder for every architecture here, and ejabberd's in one of them. */
const LIBRARIES = '/usr/lib'
const FOLDER = /^ejabberd-(\d[\w.]*)/

const READY = 'all accounts are there'
/** No spinning threads: while they wait for work they would use CPU that no stanza asked for. */
const NO_BUSY_WAITING = ['+sbwt', 'none', '+sbwtdcpu', 'none', '+sbwtdio', 'none']
/** More than any test has waiting: ejabberd ends sessions and components with longer queues. */
const QUEUE = 1_000_000

/** What the ejabberd to start should be. */
export interface EjabberdOptions {
  host: string
  component: { jid: string; secret: string }
  /** Namespaces that the host delegates to the component (as urn:xmpp:delegation:1). */
  namespaces: readonly string[]
  accounts?: readonly { user: string; password: string }[]
  /**
   * How passwords are kept: `plain` makes PLAIN cheap, and SCRAM dear, since its keys are derived at each login;
   * with `scram`, it is the other way round. `plain` when left out.
   */
  passwords?: 'plain' | 'scram'
  /** Files in PEM; with them STARTTLS is offered, and not required. */
  tls?: { key: string; certificate: string }
  /** Whether every message is archived (mod_mam, in Mnesia). */
  archive?: boolean
  /** Put before the command, e.g. `['taskset', '-c', '0']`. */
  launcher?: readonly string[]
}

/** A running ejabberd. */
export interface EjabberdPeer {
  /** The Erlang machine, in which everything happens. */
  readonly pid: number
  readonly c2sPort: number
  readonly componentPort: number
  /** Its folder: configuration, database and log. */
  readonly directory: string
  log(): string
  /** Ends it and removes its folder. */
  stop(): Promise<void>
}

/** The folder that has ejabberd's, and its version; undefined when it is not installed. */
function installed(): { libraries: string; version: string } | undefined {
  for (const entry of readdirSync(LIBRARIES, { withFileTypes: true })) {
    if (!entry.isDirectory() || !entry.name.includes('-linux-gnu')) continue
    const libraries = join(LIBRARIES, entry.name)
    for (const name of readdirSync(libraries)) {
      const version = FOLDER.exec(name)?.[1]
      if (version !== undefined && existsSync(join(libraries, name, 'ebin'))) return { libraries, version }
    }
  }
  return undefined
}

/** Why ejabberd can not be started here, with the way out; undefined when it can. */
export function ejabberdAvailable(): string | undefined {
  const folders = (process.env['PATH'] ?? '').split(delimiter)
  if (installed() === undefined || !folders.some((folder) => existsSync(join(folder, 'erl')))) {
    return 'ejabberd is not installed (apt-get install ejabberd)'
  }
  return undefined
}

/** The version that is installed, e.g. `23.01`; undefined when none is. */
export function ejabberdVersion(): string | undefined {
  return installed()?.version
}

/**
 * Starts an ejabberd on free ports of 127.0.0.1 and waits until they accept and all accounts are there.
 * @throws Error with ejabberd's log when it does not start
 */
export async function startEjabberd(options: EjabberdOptions): Promise<EjabberdPeer> {
  const libraries = installed()?.libraries ?? LIBRARIES
  const directory = await mkdtemp(join(tmpdir(), 'legate-ejabberd-'))
  const file = join(directory, 'ejabberd.yml')
  const removeAtExit = () => rmSync(directory, { recursive: true, force: true })
  process.once('exit', removeAtExit)
  const removeDirectory = async () => {
    process.off('exit', removeAtExit)
    await rm(directory, { recursive: true, force: true })
  }
  try {
    const accounts = join(directory, 'accounts')
    await writeFile(accounts, accountTerms(options))
    return await retryPorts(2, async ([c2sPort, componentPort]) => {
      // JSON is YAML.
      await writeFile(file, JSON.stringify(configuration(options, c2sPort!, componentPort!), undefined, 2))
      const server = await startServer({
        name: 'ejabberd',
        command: [
          ...(options.launcher ?? []),
          ...['erl', '-noinput', '-noshell', ...NO_BUSY_WAITING],
          ...['-mnesia', 'dir', erlangText(join(directory, 'database'))],
          ...['-s', 'ejabberd', '-eval', registration(accounts)],
        ],
        cwd: directory,
        env: {
          PATH: process.env['PATH'],
          LC_ALL: 'C.UTF-8',
          HOME: directory,
          ERL_LIBS: libraries,
          ERL_CRASH_DUMP: join(directory, 'crash.dump'),
          ERL_CRASH_DUMP_BYTES: '0',
          EJABBERD_CONFIG_PATH: file,
          EJABBERD_LOG_PATH: join(directory, 'ejabberd.log'),
        },
        ports: [c2sPort!, componentPort!],
        ready: READY,
        timeoutMs: 60_000,
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

function configuration(options: EjabberdOptions, c2sPort: number, componentPort: number) {
  const { host, component, tls } = options
  // The queue of new connections is five without being told.
  const listener = { ip: '127.0.0.1', backlog: 4096 }
  return {
    hosts: [host],
    loglevel: 'warning',
    auth_method: 'internal',
    auth_password_format: options.passwords ?? 'plain',
    ...(tls && { certfiles: [tls.certificate, tls.key] }),
    acme: { auto: false },
    max_fsm_queue: QUEUE,
    listen: [
      {
        ...listener,
        port: c2sPort,
        module: 'ejabberd_c2s',
        access: 'c2s',
        shaper: 'none',
        starttls: tls !== undefined,
      },
      {
        ...listener,
        port: componentPort,
        module: 'ejabberd_service',
        hosts: { [component.jid]: { password: component.secret } },
      },
    ],
    acl: { component: { server: component.jid } },
    access_rules: { c2s: { allow: 'all' }, delegated: { allow: 'component' } },
    shaper_rules: { max_user_sessions: QUEUE },
    s2s_access: 'none',
    modules: {
      mod_roster: {},
      mod_disco: {},
      mod_ping: {},
      ...(options.archive === true && { mod_mam: { default: 'always' } }),
      mod_delegation: {
        namespaces: Object.fromEntries(options.namespaces.map((name) => [name, { access: 'delegated' }])),
      },
    },
  }
}

/** The accounts as Erlang's `file:consult` reads them: one tuple of binaries for each. */
function accountTerms({ host, accounts }: EjabberdOptions): string {
  return (accounts ?? [])
    .map(({ user, password }) => `{${[user, host, password].map(erlangBinary).join(', ')}}.\n`)
    .join('')
}

/**
 * An Erlang expression that makes the accounts of a file once ejabberd runs: `ejabberdctl` starts a machine of its
 * own for each. SCRAM's keys are derived once for each password, which takes Erlang long, and used again.
 */
function registration(file: string): string {
  return (
    `{ok, Accounts} = file:consult(${erlangText(file)}), ` +
    'lists:foldl(fun({User, Host, Password}, Kept) -> ' +
    'ok = ejabberd_auth:try_register(User, Host, maps:get(Password, Kept, Password)), ' +
    'Kept#{Password => ejabberd_auth:get_password(User, Host)} end, #{}, Accounts), ' +
    `io:put_chars(${erlangText(`${READY}\n`)}).`
  )
}

function erlangText(text: string): string {
  return `"${text.replace(/["\\]/g, '\\$&').replaceAll('\n', '\\n')}"`
}

function erlangBinary(text: string): string {
  return `<<${[...Buffer.from(text)].join(',')}>>`
}
