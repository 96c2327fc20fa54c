/** What tests of streams have in common: TLS on a stream, SCRAM by hand, and a look at the log. */

import { createHash, createHmac, pbkdf2Sync, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { type ConnectionOptions, connect as connectTls, type TLSSocket } from 'node:tls'
import type { Element } from '@xmpp/xml'
import { TestStream } from './client.ts'
import type { TestServer } from './server.ts'

export const NS_SASL = 'urn:ietf:params:xml:ns:xmpp-sasl'
export const NS_TLS = 'urn:ietf:params:xml:ns:xmpp-tls'
export const NS_BIND = 'urn:ietf:params:xml:ns:xmpp-bind'
export const NS_STREAMS = 'http://etherx.jabber.org/streams'

/** A stream header as text. */
export function header(attrs: string, xmlns = 'jabber:client', streams = NS_STREAMS): string {
  return `<?xml version='1.0'?><stream:stream xmlns='${xmlns}' xmlns:stream='${streams}' ${attrs}>`
}

export function base64(text: string): string {
  return Buffer.from(text).toString('base64')
}

export function plain(user: string, password = 'pw'): string {
  return `<auth xmlns='${NS_SASL}' mechanism='PLAIN'>${base64(`\0${user}\0${password}`)}</auth>`
}

export function bindIq(resource: string, id = 'bind'): string {
  return `<iq type='set' id='${id}'><bind xmlns='${NS_BIND}'><resource>${resource}</resource></bind></iq>`
}

/** A stream whose header has been answered with features. */
export async function opened(port: number, host = 'capulet.lit'): Promise<TestStream> {
  const stream = await TestStream.connect(port)
  await stream.open(`to='${host}' version='1.0'`)
  await stream.named('features')
  return stream
}

/** A stream that has authenticated with PLAIN, and not bound. */
export async function authenticated(port: number, user: string, host = 'capulet.lit'): Promise<TestStream> {
  const stream = await opened(port, host)
  stream.send(plain(user))
  await stream.named('success')
  stream.restart()
  await stream.open(`to='${host}' version='1.0'`)
  await stream.named('features')
  return stream
}

/** Does STARTTLS on a stream; the handshake may reject. */
export async function startTls(stream: TestStream, options: ConnectionOptions = {}): Promise<TLSSocket> {
  stream.send(`<starttls xmlns='${NS_TLS}'/>`)
  await stream.named('proceed')
  stream.socket.removeAllListeners('data')
  const tls = connectTls({ socket: stream.socket, rejectUnauthorized: false, ...options })
  await once(tls, 'secureConnect')
  stream.restart(tls)
  return tls
}

/** A stream over TLS whose second header has been answered; the features are returned too. */
export async function secured(
  port: number,
  options: ConnectionOptions = {},
  host = 'capulet.lit',
): Promise<{ stream: TestStream; tls: TLSSocket; features: Element }> {
  const stream = await opened(port, host)
  const tls = await startTls(stream, options)
  await stream.open(`to='${host}' version='1.0'`)
  const features = await stream.named('features')
  return { stream, tls, features }
}

export function mechanismsIn(features: Element): string[] {
  const list = features.getChild('mechanisms', NS_SASL)
  return list === undefined ? [] : list.getChildren('mechanism').map((mechanism) => mechanism.text())
}

export interface ScramOptions {
  password?: string
  /** `n,,` when absent; with binding data `p=TYPE,,`. */
  gs2?: string
  /** What the test itself took from the TLS connection. */
  binding?: Buffer
}

/** Authenticates with SCRAM, written from RFC 5802 alone; checks the server's signature. */
export async function scram(
  stream: TestStream,
  mechanism: string,
  user: string,
  { password = 'pw', gs2 = 'n,,', binding = Buffer.alloc(0) }: ScramOptions = {},
): Promise<Element> {
  const hash = mechanism.startsWith('SCRAM-SHA-256') ? 'sha256' : 'sha1'
  const nonce = randomBytes(12).toString('hex')
  const firstBare = `n=${user},r=${nonce}`
  stream.send(`<auth xmlns='${NS_SASL}' mechanism='${mechanism}'>${base64(gs2 + firstBare)}</auth>`)
  const challenge = await stream.next()
  if (challenge.getName() !== 'challenge') return challenge
  const serverFirst = Buffer.from(challenge.text(), 'base64').toString()
  const [, serverNonce = '', salt = '', iterations = ''] =
    /^r=([^,]+),s=([^,]+),i=(\d+)$/.exec(serverFirst) ?? []
  if (!serverNonce.startsWith(nonce)) throw new Error(`the nonce is not continued: ${serverFirst}`)
  const length = hash === 'sha256' ? 32 : 20
  const salted = pbkdf2Sync(password, Buffer.from(salt, 'base64'), Number(iterations), length, hash)
  const mac = (key: Buffer, text: string) => createHmac(hash, key).update(text).digest()
  const clientKey = mac(salted, 'Client Key')
  const storedKey = createHash(hash).update(clientKey).digest()
  const channel = Buffer.concat([Buffer.from(gs2), binding]).toString('base64')
  const finalBare = `c=${channel},r=${serverNonce}`
  const authMessage = `${firstBare},${serverFirst},${finalBare}`
  const signature = mac(storedKey, authMessage)
  const proof = Buffer.from(clientKey.map((byte, index) => byte ^ signature[index]!)).toString('base64')
  stream.send(`<response xmlns='${NS_SASL}'>${base64(`${finalBare},p=${proof}`)}</response>`)
  const outcome = await stream.next()
  if (outcome.getName() === 'success') {
    const expected = `v=${mac(mac(salted, 'Server Key'), authMessage).toString('base64')}`
    const given = Buffer.from(outcome.text(), 'base64').toString()
    if (given !== expected) throw new Error('the signature of the server is wrong')
  }
  return outcome
}

/** The condition of a SASL failure or of a stanza error. */
export function conditionOf(element: Element): string {
  const error = element.getName() === 'failure' ? element : element.getChild('error')
  const child = error?.children.find((part) => typeof part === 'object' && part.getName() !== 'text')
  return (child as Element | undefined)?.getName() ?? ''
}

/** Lines of the log at the level error. */
export function troubles({ log }: TestServer): string[] {
  return log.filter((line) => /^\S+ \S+ (error|fatal)\b/.test(line))
}
