// A component (XEP-0114) that manages a delegated namespace and answers by splicing text.
import { createHash } from 'node:crypto'
import { Connection } from './connection.ts'
import { attribute, delegatedAnswer } from './stanzas.ts'

/** The component to be, and its secret. */
export interface ComponentAccount {
  jid: string
  secret: string
}

/** A connected component that answers what it is forwarded. */
export interface Component {
  readonly connection: Connection
  /** How many forwarded requests it has answered. */
  answered(): number
}

/**
 * Connects a component and waits until the server has told it that a namespace is delegated to it
 * (XEP-0355 §4.2); from then on it answers.
 * @throws Error when the server refuses it, or delegates nothing
 */
export async function connectComponent(port: number, account: ComponentAccount): Promise<Component> {
  const connection = await Connection.open(port, account.jid)
  connection.send(
    `<?xml version='1.0'?><stream:stream to='${account.jid}' ` +
      `xmlns='jabber:component:accept' xmlns:stream='http://etherx.jabber.org/streams'>`,
  )
  const header = await connection.expect('<stream:stream')
  const streamId = attribute(header, 0, header.length, 'id') ?? ''
  const digest = createHash('sha1')
    .update(streamId + account.secret)
    .digest('hex')
  connection.send(`<handshake>${digest}</handshake>`)
  await connection.expect('<handshake/', '</handshake')

  let answered = 0
  const react = (text: string, start: number, end: number) => {
    if (answer(connection, text, start, end)) answered++
  }
  // Disco queries (XEP-0355 §7.2) may come before the advertisement, and requests right behind it.
  await connection.stanza((stanza) => {
    if (stanza.startsWith('<message') && stanza.includes('<delegated')) return true
    react(stanza, 0, stanza.length)
    return false
  })
  connection.listen(react)
  return { connection, answered: () => answered }
}

/** Answers a stanza if it asks for something; true when it was a forwarded request. */
function answer(connection: Connection, text: string, start: number, end: number): boolean {
  if (!text.startsWith('<iq', start)) return false
  const head = text.indexOf('>', start)
  if (text.startsWith('<delegation', head + 1)) {
    connection.send(delegatedAnswer(text, start))
    return true
  }
  const type = attribute(text, start, head, 'type')
  if (type !== 'get' && type !== 'set') return false
  const id = attribute(text, start, head, 'id')
  const from = attribute(text, start, head, 'to')
  const to = attribute(text, start, head, 'from')
  const node = attribute(text, head, end, 'node') ?? ''
  connection.send(
    `<iq type='result' id='${id}' from='${from}' to='${to}'>` +
      `<query xmlns='http://jabber.org/protocol/disco#info' node='${node}'/></iq>`,
  )
  return false
}
