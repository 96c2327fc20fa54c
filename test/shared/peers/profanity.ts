// Profanity (Debian's package), a client for the terminal, driven as a person drives it: by its commands and screen.
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type OnScreen, Terminal, terminalAvailable } from './terminal.ts'

/** Why Profanity can not be used here, with the way out; undefined when it can. */
export function profanityAvailable(): string | undefined {
  if (spawnSync('profanity', ['--version'], { env: environment(tmpdir()) }).status !== 0) {
    return 'Profanity is not installed (apt-get install profanity)'
  }
  if (spawnSync('openssl', ['version']).status !== 0) {
    return 'openssl, which makes the folder of certificates that Profanity trusts, is missing (apt-get install openssl)'
  }
  return terminalAvailable()
}

const COMPLAINT = / (WRN|ERR): /
/**
 * OMEMO keys that are not there yet, and GLib's assertions about them; what GLib writes comes after an empty line.
 * At its start it announces itself with two sets of features within a millisecond, and then finds, as its friends
 * do, that the first hash is not that of what it can do. After a resumption it registers its handlers once more.
 */
const OWN =
  /\[OMEMO\]|stderr: ERR: $|GLib-CRITICAL|Generated sha-1 does not match|(Generated|Given) +: |handler already exists/

/** How to start it. */
export interface ProfanityOptions {
  /** PEM of certificates that it trusts; others than these it asks about. */
  trusted?: string
  /** Seconds after which it connects again when its connection has been lost; 0 for never. */
  reconnect?: number
}

/** A running Profanity with a home of its own. */
export class Profanity {
  private readonly home: string
  private readonly terminal: Terminal
  /** What is typed while it starts may be thrown away. */
  private readonly started: Promise<unknown>

  constructor({ trusted, reconnect = 0 }: ProfanityOptions = {}) {
    this.home = mkdtempSync(join(tmpdir(), 'legate-profanity-'))
    const trust = join(this.home, 'trust')
    mkdirSync(trust)
    if (trusted !== undefined) {
      writeFileSync(join(trust, 'server.pem'), trusted)
      // Profanity takes a folder in which OpenSSL finds certificates by the hashes of their subjects.
      const { status, stderr } = spawnSync('openssl', ['rehash', trust], { encoding: 'utf8' })
      if (status !== 0) throw new Error(`openssl rehash: ${stderr}`)
    }
    const settings = join(this.home, 'config', 'profanity')
    mkdirSync(settings, { recursive: true })
    writeFileSync(
      join(settings, 'profrc'),
      `[ui]\nsplash=false\n[connection]\nreconnect=${reconnect}\ntls.certpath=${trust}\n` +
        // What others do is told in the console; nothing is asked of the network beyond the server.
        '[notifications]\nroom=off\nmessage=false\n[logging]\nrotate=false\n',
    )
    this.terminal = new Terminal('profanity -l DEBUG', environment(this.home))
    this.started = this.terminal.shows('Welcome to Profanity')
    this.started.catch(() => {})
  }

  /** Types a command, or something to say to whom the window is about. */
  async do(line: string): Promise<void> {
    await this.started
    await this.terminal.enter(line)
  }

  /** Waits until the screen fits, and returns it. */
  shows(what: OnScreen): Promise<string> {
    return this.terminal.shows(what)
  }

  /** What is on the screen now. */
  screen(): Promise<string> {
    return this.terminal.screen()
  }

  /** Connects, tells its password, and waits until it has logged in. @param tls - Profanity's policy */
  async login(jid: string, port: number, password = 'pw', tls = 'force'): Promise<string> {
    await this.connect(jid, port, password, tls)
    await this.shows('logged in successfully')
    // It has asked what the server can do, and does not use what it has not heard of; answers come in order.
    await this.do('/disco info')
    return this.shows('Service discovery info for')
  }

  /** Goes to the window of a chat that the other one has begun. */
  async openChat(jid: string): Promise<void> {
    const begun = new RegExp(`<< chat message: ${escaped(jid)}\\S* \\(win (\\d+)\\)`)
    const [, number] = begun.exec(await this.shows(begun))!
    await this.do(`/win ${number}`)
  }

  /** What has been said in the window that is open, by anybody, in order. */
  async said(): Promise<string[]> {
    const lines = (await this.screen()).split('\n')
    return lines.flatMap((line) => /^\d\d:\d\d:\d\d - (?:me|[^ :]+): (.*)$/.exec(line)?.[1] ?? [])
  }

  /** Connects, and tells its password. */
  async connect(jid: string, port: number, password = 'pw', tls = 'force'): Promise<void> {
    await this.do(`/connect ${jid} server 127.0.0.1 port ${port} tls ${tls}`)
    await this.shows('Enter password:')
    await this.do(password)
  }

  /** What it has written into its log: also what went over the wire. */
  log(): string {
    return readFileSync(join(this.home, 'data', 'profanity', 'logs', 'profanity.log'), 'utf8')
  }

  /** Warnings and errors of its log, without those about its own files and libraries. */
  complaints(): string[] {
    return this.log()
      .split('\n')
      .filter((line) => COMPLAINT.test(line) && !OWN.test(line))
  }

  /** Closes its window. */
  async stop(): Promise<void> {
    await this.terminal.stop()
    rmSync(this.home, { recursive: true, force: true })
  }
}

/** Everything of it in one folder, and its texts in English, whoever runs the test. */
function environment(home: string): Record<string, string | undefined> {
  return {
    PATH: process.env['PATH'],
    HOME: home,
    XDG_CONFIG_HOME: join(home, 'config'),
    XDG_DATA_HOME: join(home, 'data'),
    XDG_CACHE_HOME: join(home, 'cache'),
    LC_ALL: 'C.UTF-8',
    TZ: 'UTC',
  }
}

function escaped(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')
}
