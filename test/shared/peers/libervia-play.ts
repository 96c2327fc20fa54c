// The stage of the tests with libervia-pubsub: a Legate process, the service, its database, two friends and a foe.
import { login, type TestStream } from '../client.ts'
import { newId } from '../delegation.ts'
import { LegateFolder, type RunningLegate } from '../legate-command.ts'
import { PortTaken, retryPorts } from '../ports.ts'
import { LIBERVIA_SCHEMA, type LiberviaPeer, liberviaHostOptions, startLibervia } from './libervia.ts'
import { NS_INFO, NS_PAM, pubsub } from './libervia-requests.ts'
import { type PostgresqlPeer, startPostgresql } from './postgresql.ts'
import { configText } from './prosody-config.ts'

export const HOST = 'capulet.lit'
export const SERVICE = `pubsub.${HOST}`
/** A publish-subscribe service that is not the host's; tests play it. */
export const NEWS = 'news.verona.lit'
export const JULIET = `juliet@${HOST}`
export const ROMEO = `romeo@${HOST}`
/** Nobody's friend. */
export const TYBALT = `tybalt@${HOST}`

/** Clients want to hear of what is published here. */
export const HEARD = 'urn:example:heard'

const DATABASE = 'pubsub'
const SECRET = 'secret'
const ROSTER = `<query xmlns='jabber:iq:roster'/>`

/** A line of Legate's of such a level, or one of the service's: an exception's last, or of its own accord. */
const COMPLAINT = /^\S+ \S+ (warn|error|fatal) |^\t\w+(\.\w+)+: |WARNING|IQ id conflict/
/** Legate runs as root and has no certificate; what was under way when it was killed is lost to the service. */
const EXPECTED = /running as root|no certificate was found|internet\.error\.Connection(Lost|Done)/

/** What is on the stage. */
export class LiberviaPlay {
  private postgresql!: PostgresqlPeer
  private folder!: LegateFolder
  legate!: RunningLegate
  service!: LiberviaPeer
  componentPort!: number
  juliet!: TestStream
  romeo!: TestStream
  tybalt!: TestStream
  private introduced = 0
  /** What processes have written that are gone. */
  private written = ''

  /** Everybody enters. */
  async begin(): Promise<void> {
    this.folder = new LegateFolder()
    this.postgresql = await startPostgresql()
    await this.postgresql.createDatabase(DATABASE, LIBERVIA_SCHEMA)
    this.legate = await retryPorts(1, ([port]) => this.startLegate(port!))
    for (const jid of [JULIET, ROMEO, TYBALT]) await this.folder.run(['adduser', jid], 'pw\npw\n')
    await this.befriend()
    await this.startService()
    await this.enter()
  }

  /** Everybody leaves, also where not all have come. */
  async end(): Promise<void> {
    await this.leave()
    await this.service?.kill()
    this.written += this.service?.log() ?? ''
    this.written += (await this.legate?.stop())?.stdout ?? ''
    await this.folder?.remove()
    await this.postgresql?.stop()
  }

  /** What the processes that have ended complain of: Legate of the service, and the service of anything. */
  complaints(): string[] {
    const lines = this.written.split('\n')
    return lines.filter((line) => COMPLAINT.test(line) && !EXPECTED.test(line))
  }

  /** The service is gone as after a crash, and Legate has noticed. */
  async killService(): Promise<void> {
    const from = this.legate.text.length
    await this.service.kill()
    this.written += this.service.log()
    await this.legate.logged(/component disconnected/, from)
  }

  /** The service comes back; the clients have stayed, and it makes their acquaintance again. */
  async restartService(): Promise<void> {
    await this.startService()
    await Promise.all([this.juliet, this.romeo, this.tybalt].map((stream) => this.acquaint(stream)))
  }

  /** Legate is gone as after a crash and comes back; the service finds it by itself, the clients log in. */
  async restartLegate(): Promise<void> {
    const from = this.service.log().length
    this.legate.child.kill('SIGKILL')
    this.written += (await this.legate.outcome).stdout
    await this.leave()
    this.legate = await this.folder.start()
    await this.serviceReady(from)
    await this.enter()
  }

  /** Logs in; the service learns that this resource wants to hear. @param node - of what, besides `HEARD` */
  async introduce(jid: string, node = HEARD): Promise<TestStream> {
    // The service remembers full JIDs and what their clients can do: both have to be new.
    const resource = `r${++this.introduced}`
    const stream = await login(this.legate.c2sPort, `${jid}/${resource}`, { presence: false })
    await stream.ask(`<iq type='get' id='${newId()}'>${ROSTER}</iq>`)
    const caps = `xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='urn:example:client' ver='${resource}'`
    stream.send(`<presence><c ${caps}/></presence>`)
    await this.acquaint(stream, node)
    return stream
  }

  private async startLegate(componentPort: number): Promise<RunningLegate> {
    this.componentPort = componentPort
    const { delegations, ...privileges } = liberviaHostOptions(SERVICE)
    this.folder.configure(
      configText({
        globals: {
          interfaces: ['127.0.0.1'],
          local_interfaces: ['127.0.0.1'],
          c2s_ports: [0],
          component_ports: [componentPort],
          c2s_require_encryption: false,
          allow_unencrypted_plain_auth: true,
          default_iteration_count: 4096,
          log: '*console',
          modules_enabled: ['saslauth', 'roster', 'disco', 'ping', 'delegation', 'privilege'],
        },
        hosts: { [HOST]: { delegations: { ...delegations, [NS_PAM]: { jid: SERVICE } }, ...privileges } },
        components: {
          [SERVICE]: { secret: SECRET, options: { modules_enabled: ['delegation', 'privilege'] } },
          [NEWS]: { secret: SECRET },
        },
      }),
    )
    try {
      return await this.folder.start()
    } catch (error) {
      if (String(error).includes('EADDRINUSE')) throw new PortTaken(String(error))
      throw error
    }
  }

  private async startService(): Promise<void> {
    const { postgresql, componentPort } = this
    this.service = startLibervia({
      jid: SERVICE,
      secret: SECRET,
      componentPort,
      postgresql,
      database: DATABASE,
    })
    await this.serviceReady()
  }

  /** It has been told what it manages and may. @param from - where in its log that begins */
  private async serviceReady(from = 0): Promise<void> {
    await this.service.logged(/delegations updated/, from)
    await this.service.logged(/Privileges updated/, from)
  }

  private async enter(): Promise<void> {
    this.juliet = await this.introduce(JULIET)
    this.romeo = await this.introduce(ROMEO)
    this.tybalt = await this.introduce(TYBALT)
  }

  private async leave(): Promise<void> {
    for (const stream of [this.juliet, this.romeo, this.tybalt]) await stream?.destroy()
  }

  /** Each sees the other's presence from now on; a roster survives what this play does to Legate. */
  private async befriend(): Promise<void> {
    const port = this.legate.c2sPort
    const [juliet, romeo] = [await login(port, `${JULIET}/first`), await login(port, `${ROMEO}/first`)]
    for (const stream of [juliet, romeo]) await stream.ask(`<iq type='get' id='${newId()}'>${ROSTER}</iq>`)
    const asks = async (asker: TestStream, asked: TestStream, to: string) => {
      asker.send(`<presence type='subscribe' to='${to}'/>`)
      const { attrs } = await asked.next((element) => element.attrs.type === 'subscribe')
      asked.send(`<presence type='subscribed' to='${attrs.from}'/>`)
      await asker.next((element) => element.attrs.type === 'subscribed')
    }
    await asks(juliet, romeo, ROMEO)
    await asks(romeo, juliet, JULIET)
    for (const stream of [juliet, romeo]) await stream.close()
  }

  /** The service asks a client that has come what it can do, and has worked on the answer. */
  private async acquaint(stream: TestStream, node = HEARD): Promise<void> {
    const { attrs } = await stream.next(
      (element) => element.attrs.from === SERVICE && element.getChild('query', NS_INFO) !== undefined,
    )
    const features = [NS_INFO, `${HEARD}+notify`, `${node}+notify`]
    const query = `<query xmlns='${NS_INFO}'><identity category='client' type='pc'/>${features.map((name) => `<feature var='${name}'/>`).join('')}</query>`
    stream.send(`<iq type='result' id='${attrs.id}' to='${attrs.from}'>${query}</iq>`)
    await pubsub(stream, 'get', undefined, `<items node='urn:example:none'/>`)
  }
}
