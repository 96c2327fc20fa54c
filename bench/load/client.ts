// Logs a client in: stream, TLS if asked, SASL, resource, presence.
import { Connection, IGNORE } from './connection.ts'
import { attribute } from './reading.ts'
import { Scram } from './scram.ts'

/** Whom to log in, and where. */
export interface ClientAccount {
  host: string
  user: string
  password: string
  resource: string
}

/** How to log in. */
export interface LoginManner {
  tls: boolean
  mechanism: 'PLAIN' | 'SCRAM-SHA-1'
}

/** A client that is logged in and has sent its presence. */
export interface Client {
  /** Full JID. */
  readonly jid: string
  readonly connection: Connection
}

const SASL = 'urn:ietf:params:xml:ns:xmpp-sasl'

/** The id of the floor's streams. The floor does no cryptography, so its SCRAM is not verified. */
export const FLOOR_STREAM = 'the-floor'

/**
 * Opens a session and waits until the server has seen its presence.
 * @throws Error when the server refuses a step, with what it said
 */
export async function logIn(
  port: number,
  account: ClientAccount,
  manner: LoginManner = { tls: false, mechanism: 'PLAIN' },
): Promise<Client> {
  const { host, user, resource } = account
  const jid = `${user}@${host}/${resource}`
  const connection = await Connection.open(port, jid, manner.tls)
  const header =
    `<?xml version='1.0'?><stream:stream to='${host}' version='1.0' ` +
    `xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>`

  if (manner.tls) {
    connection.send(header)
    await connection.expect('</stream:features')
    connection.send(`<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>`)
    await connection.expect('<proceed')
    await connection.secure()
  }
  connection.send(header)
  const offer = await connection.expect('</stream:features')
  if (manner.mechanism === 'PLAIN') await plain(connection, account)
  else await scram(connection, account, offer.includes(FLOOR_STREAM))

  connection.send(header)
  await connection.expect('</stream:features')
  connection.send(
    `<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>` +
      `<resource>${resource}</resource></bind></iq>`,
  )
  const bound = await connection.expect('</iq')
  if (!bound.includes(jid)) throw new Error(`${jid}: another resource was bound: ${bound}`)

  connection.send('<presence/>')
  await ping(connection)
  return { jid, connection }
}

/** XEP-0199. */
export function pingRequest(id: string): string {
  return `<iq type='get' id='${id}'><ping xmlns='urn:xmpp:ping'/></iq>`
}

/** Waits until the server has handled what was sent: stanzas are handled in order. What else comes is dropped. */
export async function ping(connection: Connection): Promise<void> {
  connection.send(pingRequest('ready'))
  await connection.stanza((stanza) => {
    const head = stanza.indexOf('>')
    return stanza.startsWith('<iq') && attribute(stanza, 0, head, 'id') === 'ready'
  })
  connection.listen(IGNORE)
}

async function plain(connection: Connection, { user, password }: ClientAccount): Promise<void> {
  const credentials = Buffer.from(`\0${user}\0${password}`).toString('base64')
  connection.send(`<auth xmlns='${SASL}' mechanism='PLAIN'>${credentials}</auth>`)
  await connection.expect('<success')
}

async function scram(connection: Connection, account: ClientAccount, trusting: boolean): Promise<void> {
  const { user, password } = account
  const exchange = new Scram(user, password)
  connection.send(`<auth xmlns='${SASL}' mechanism='SCRAM-SHA-1'>${exchange.first()}</auth>`)
  const challenge = content(await connection.expect('</challenge'))
  connection.send(`<response xmlns='${SASL}'>${exchange.final(challenge)}</response>`)
  const success = content(await connection.expect('</success'))
  if (!trusting && !exchange.verifies(success)) {
    throw new Error(`${user}: the server does not know the password: ${success}`)
  }
}

/** What stands in the last element of a sentence that ends with its end tag. */
function content(sentence: string): string {
  const end = sentence.lastIndexOf('</')
  return sentence.slice(sentence.lastIndexOf('>', end) + 1, end)
}
