// libervia-pubsub (Debian's package of that name), the PEP service that XEP-0355 and XEP-0356 were written for.
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type PostgresqlPeer, postgresqlAvailable } from './postgresql.ts'

/** Where Debian keeps it. */
const PACKAGE = '/usr/share/libervia'
const TWISTD = '/usr/bin/twistd3'
const SETPRIV = '/usr/bin/setpriv'

/** Its tables. */
export const LIBERVIA_SCHEMA = `${PACKAGE}/sat_pubsub/db/pubsub.sql`

/** What it asks a server for, as options of a VirtualHost. @param jid - its own */
export function liberviaHostOptions(jid: string) {
  const pubsub = 'http://jabber.org/protocol/pubsub'
  return {
    delegations: {
      [pubsub]: { jid },
      [`${pubsub}#owner`]: { jid },
      'urn:xmpp:mam:2': { jid, filtering: ['node'] },
      'urn:xmpp:delegation:2:bare:disco#info:*': { jid },
      'urn:xmpp:delegation:2:bare:disco#items:*': { jid },
    },
    privileged_entities: {
      [jid]: { roster: 'both', message: 'outgoing', presence: 'roster', iq: { [pubsub]: 'set' } },
    },
  } as const
}

/** What to connect to. */
export interface LiberviaOptions {
  jid: string
  secret: string
  componentPort: number
  postgresql: PostgresqlPeer
  /** A database with {@link LIBERVIA_SCHEMA}. */
  database: string
}

/** A running libervia-pubsub. */
export interface LiberviaPeer {
  readonly pid: number
  /** What it has written so far, with the traffic of its stream. */
  log(): string
  /** Waits until it has written this, at or after `from` of its log. */
  logged(words: RegExp, from?: number): Promise<void>
  /** Ends it at once, as a crash would. */
  kill(): Promise<void>
}

/** Why it can not be started here, with the way out; undefined when it can. */
export function liberviaAvailable(): string | undefined {
  if (!existsSync(LIBERVIA_SCHEMA) || !existsSync(TWISTD)) {
    return `${LIBERVIA_SCHEMA} or ${TWISTD} is missing (apt-get install libervia-pubsub)`
  }
  return postgresqlAvailable()
}

/** Starts it; {@link LiberviaPeer.logged} tells how far it is. It takes some seconds until it connects. */
export function startLibervia(options: LiberviaOptions): LiberviaPeer {
  const directory = mkdtempSync(join(tmpdir(), 'legate-libervia-'))
  // Twisted writes a cache beside its plugins, and the package's folder has one that loads the whole of Libervia.
  mkdirSync(join(directory, 'twisted/plugins'), { recursive: true })
  symlinkSync(join(PACKAGE, 'twisted/plugins/pubsub.py'), join(directory, 'twisted/plugins/pubsub.py'))
  for (const name of ['sat_pubsub', 'sat_tmp']) symlinkSync(join(PACKAGE, name), join(directory, name))
  const { postgresql } = options
  const command = [
    ...(existsSync(SETPRIV) ? [SETPRIV, '--pdeathsig', 'KILL', '--'] : []),
    ...[TWISTD, '--nodaemon', '--pidfile=', 'libervia-pubsub', '--verbose'],
    ...['--jid', options.jid, '--xmpp_pwd', options.secret],
    ...['--rhost', '127.0.0.1', '--rport', String(options.componentPort)],
    ...['--db_user', postgresql.user, '--db_name', options.database],
    ...['--db_host', '127.0.0.1', '--db_port', String(postgresql.port)],
  ]
  const child = spawn(command[0]!, command.slice(1), {
    // It looks for configurations of its own here and at home.
    cwd: directory,
    env: {
      PATH: process.env['PATH'],
      HOME: directory,
      LC_ALL: 'C.UTF-8',
      PYTHONPATH: directory,
      PYTHONDONTWRITEBYTECODE: '1',
      PYTHONUNBUFFERED: '1',
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  return new Libervia(child, directory)
}

class Libervia implements LiberviaPeer {
  private readonly child: ChildProcess
  private readonly ended: Promise<void>
  private readonly waiting = new Set<() => void>()
  private text = ''

  constructor(child: ChildProcess, directory: string) {
    this.child = child
    const collect = (text: string) => {
      this.text += text
      for (const look of [...this.waiting]) look()
    }
    child.stdout!.setEncoding('utf8').on('data', collect)
    child.stderr!.setEncoding('utf8').on('data', collect)
    const endWithUs = () => {
      child.kill('SIGKILL')
      rmSync(directory, { recursive: true, force: true })
    }
    process.once('exit', endWithUs)
    this.ended = new Promise<void>((resolve) => {
      child.once('error', (error) => {
        collect(error.message)
        resolve()
      })
      child.once('close', () => resolve())
    }).then(() => {
      process.off('exit', endWithUs)
      rmSync(directory, { recursive: true, force: true })
    })
  }

  get pid(): number {
    return this.child.pid!
  }

  log(): string {
    return this.text
  }

  logged(words: RegExp, from = 0): Promise<void> {
    return new Promise((resolve, reject) => {
      const look = () => {
        if (!words.test(this.text.slice(from))) return
        this.waiting.delete(look)
        resolve()
      }
      this.waiting.add(look)
      look()
      void this.ended.then(() =>
        reject(new Error(`libervia-pubsub ended without ${words}:\n${this.text.slice(-10_000)}`)),
      )
    })
  }

  async kill(): Promise<void> {
    this.child.kill('SIGKILL')
    await this.ended
  }
}
