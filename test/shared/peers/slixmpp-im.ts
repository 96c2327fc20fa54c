// A person's client with slixmpp and its plugins: test/interop/slixmpp_im.py.
import { HOST, type ImServer } from './im-server.ts'
import { type SlixmppEvent, type SlixmppPeer, startSlixmpp } from './slixmpp.ts'

/** Less than a test may take. */
const PATIENCE_MS = 30_000

/** A message as such a client tells of it. */
export interface SlixmppMessage {
  sender: string
  to: string
  type: string
  body: string
  /** XEP-0359: what its sender calls it. */
  origin: string
  /** XEP-0359: what an archive calls it, and whose archive. */
  stable: string
  by: string
  /** XEP-0203: who had it before. */
  delayed_by: string | null
}

/** Who such a client is, beside the account. */
export interface SlixmppImOptions {
  /** Where it connects: the server's port when left out, or the network's for one whose connection is cut. */
  port?: number
  password?: string
  resource?: string
}

/** A running client. */
export class SlixmppIm {
  readonly peer: SlixmppPeer
  /** Its full JID. */
  readonly jid: string
  private asked = 0

  constructor(server: ImServer, user: string, options: SlixmppImOptions = {}) {
    const { port = server.c2sPort, password = 'pw', resource = 'slixmpp' } = options
    this.jid = `${user}@${HOST}/${resource}`
    this.peer = startSlixmpp('slixmpp_im.py', { jid: this.jid, password, port, ca: server.certificateFile })
  }

  /** Waits until it has logged in, fetches the roster, and says that it is there, as clients do. */
  async login(): Promise<SlixmppEvent> {
    const online = await this.peer.next('online')
    await this.ask('roster')
    await this.show()
    return online
  }

  /** Says that it is there, and waits until that has come back. */
  async show(status = ''): Promise<void> {
    this.do('presence', { status })
    await this.next('presence', ({ sender, type }) => sender === this.jid && type !== 'unavailable')
  }

  /** Asks it for something that has an answer. @returns the answer, whose `condition` is null or the error's */
  ask(command: string, facts: Record<string, unknown> = {}): Promise<SlixmppEvent> {
    const ref = ++this.asked
    this.do(command, { ...facts, ref })
    return this.next('answer', (event) => event['ref'] === ref)
  }

  do(command: string, facts: Record<string, unknown> = {}): void {
    this.peer.do(command, facts)
  }

  /** The next event of a name. @throws Error with what it has told instead when it does not come in time */
  async next(event: string, fits?: (event: SlixmppEvent) => boolean): Promise<SlixmppEvent> {
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        reject(new Error(`${this.jid} has not told "${event}", but ${JSON.stringify(this.peer.told)}`))
      }, PATIENCE_MS)
    })
    try {
      return await Promise.race([this.peer.next(event, fits), late])
    } finally {
      clearTimeout(timer)
    }
  }

  /** The next message with such words. */
  async hears(body: string): Promise<SlixmppEvent> {
    return this.next('message', (event) => event['body'] === body)
  }

  /** Takes what it has told of an event, after everything that was on its way has come. */
  async heard(event: string): Promise<SlixmppEvent[]> {
    await this.ask('ping', { jid: HOST })
    return Promise.all(this.told(event).map((told) => this.next(event, (other) => other === told)))
  }

  /** What it has told of an event and nobody has asked for. */
  told(event: string): SlixmppEvent[] {
    return this.peer.told.filter((told) => told.event === event)
  }

  stop(): Promise<void> {
    return this.peer.stop()
  }
}
