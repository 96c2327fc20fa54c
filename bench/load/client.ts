// Logs a client in: stream, SASL PLAIN, resource, presence. The server must allow PLAIN without TLS.
import { Connection } from './connection.ts'
import { attribute } from './stanzas.ts'

/** Whom to log in, and where. */
export interface ClientAccount {
  host: string
  user: string
  password: string
  resource: string
}

/** A client that is logged in and has sent its presence. */
export interface Client {
  /** Full JID. */
  readonly jid: string
  readonly connection: Connection
}

/**
 * Opens a session and waits until the server has seen its presence.
 * @throws Error when the server refuses a step, with what it said
 */
export async function logIn(port: number, account: ClientAccount): Promise<Client> {
  const { host, user, password, resource } = account
  const jid = `${user}@${host}/${resource}`
  const connection = await Connection.open(port, jid)
  const header =
    `<?xml version='1.0'?><stream:stream to='${host}' version='1.0' ` +
    `xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>`

  connection.send(header)
  await connection.expect('</stream:features')
  const plain = Buffer.from(`\0${user}\0${password}`).toString('base64')
  connection.send(`<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>${plain}</auth>`)
  await connection.expect('<success')
  connection.send(header)
  await connection.expect('</stream:features')
  connection.send(
    `<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>` +
      `<resource>${resource}</resource></bind></iq>`,
  )
  const bound = await connection.expect('</iq')
  if (!bound.includes(jid)) throw new Error(`${jid}: another resource was bound: ${bound}`)

  // Stanzas are handled in order: when the answer is here, the presence has been seen.
  connection.send(`<presence/><iq type='get' id='ready'><ping xmlns='urn:xmpp:ping'/></iq>`)
  await connection.stanza((stanza) => attribute(stanza, 0, stanza.indexOf('>'), 'id') === 'ready')
  connection.listen(() => {})
  return { jid, connection }
}
