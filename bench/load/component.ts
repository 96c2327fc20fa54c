// A component (XEP-0114) that manages delegated namespaces and answers with copies of one answer, changed where
// requests differ.
import { createHash } from 'node:crypto'
import { FLOOR_STREAM } from './client.ts'
import { Connection, type StanzaReader } from './connection.ts'
import { attribute, attributeAt } from './reading.ts'
import { type Hole, OTHER, PART, Skeleton } from './skeleton.ts'
import { answerPayload, COMPONENT, delegatedAnswer, REQUEST_MARK } from './stanzas.ts'

/** The component to be. */
export interface ComponentAccount {
  jid: string
  secret: string
  /** How many namespaces are delegated to it; 1 if left out. */
  namespaces?: number
}

/** How requests of one look are answered. */
interface Pattern {
  request: Skeleton
  answer: Buffer
  /** In threes: from where in the request, to where in the answer, how many bytes. */
  copies: number[]
}

/** Each process of a server writes ids of its own kind. */
const MOST_PATTERNS = 4

/** A connected component that answers what it is forwarded. */
export class Component implements StanzaReader {
  readonly connection: Connection
  private payload = answerPayload(0)
  /** What was learnt last is first. */
  private patterns: Pattern[] = []
  /** Requests that wait for {@link release}; undefined while they are answered at once. */
  private held: Buffer[] | undefined
  private heldEnough: (() => void) | undefined
  private heldTarget = 0
  private answers = 0

  constructor(connection: Connection) {
    this.connection = connection
  }

  /** From now on, payloads have this length, as {@link answerPayload} takes it. */
  answerWith(payloadBytes: number): void {
    this.payload = answerPayload(payloadBytes)
    this.patterns = []
  }

  /** How many forwarded requests it has answered. */
  answered(): number {
    return this.answers
  }

  /** Answers nothing until {@link release}; resolves when `count` requests wait for it. */
  hold(count: number): Promise<void> {
    this.held = []
    this.heldTarget = count
    return new Promise((resolve) => {
      this.heldEnough = resolve
    })
  }

  /** Answers what was held, and whatever comes from now on. */
  release(): void {
    const held = this.held ?? []
    this.held = undefined
    for (const request of held) {
      if (this.quick(request, 0) < 0) this.slow(request, 0, request.length)
    }
  }

  quick(bytes: Buffer, at: number): number {
    const { patterns } = this
    let result = OTHER
    for (let index = 0; index < patterns.length; index++) {
      const pattern = patterns[index]!
      const end = pattern.request.match(bytes, at)
      if (end > 0) {
        this.answer(pattern, bytes, at, end)
        return end
      }
      if (end === PART) result = PART
    }
    return result
  }

  slow(bytes: Buffer, at: number, end: number): void {
    const stanza = bytes.toString('latin1', at, end)
    if (!stanza.startsWith('<iq')) return
    const head = stanza.indexOf('>')
    if (stanza.startsWith('<delegation', head + 1)) {
      const pattern = learn(stanza, this.payload)
      this.patterns.unshift(pattern)
      this.patterns.length = Math.min(this.patterns.length, MOST_PATTERNS)
      this.answer(pattern, bytes, at, end)
      return
    }
    const type = attribute(stanza, 0, head, 'type')
    if (type === 'get' || type === 'set') this.connection.send(discoAnswer(stanza, head))
  }

  private answer({ answer, copies }: Pattern, bytes: Buffer, at: number, end: number): void {
    if (this.held !== undefined) {
      this.held.push(Buffer.from(bytes.subarray(at, end)))
      if (this.held.length === this.heldTarget) this.heldEnough?.()
      return
    }
    this.answers++
    const start = this.connection.sendCopy(answer)
    const out = this.connection.written
    for (let index = 0; index < copies.length; index += 3) {
      const from = at + copies[index]!
      const to = start + copies[index + 1]!
      const length = copies[index + 2]!
      for (let byte = 0; byte < length; byte++) out[to + byte] = bytes[from + byte]!
    }
  }
}

/**
 * Connects a component and waits until the server has told it of all namespaces that are delegated to it
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

  const component = new Component(connection)
  // The floor knows nothing of namespaces and names one for all.
  const expected = streamId === FLOOR_STREAM ? 1 : (account.namespaces ?? 1)
  const advertised = new Set<string>()
  // Disco queries (XEP-0355 §7.2) may come before the advertisement, and requests right behind it.
  await connection.stanza((stanza) => {
    if (!stanza.startsWith('<message')) {
      const bytes = Buffer.from(stanza, 'latin1')
      component.slow(bytes, 0, bytes.length)
      return false
    }
    for (const [, , namespace] of stanza.matchAll(/<delegated\b[^>]* namespace=(['"])(.*?)\1/g)) {
      advertised.add(namespace!)
    }
    return advertised.size >= expected
  })
  connection.listen(component)
  return component
}

/** Reads a forwarded request the slow way, and finds out how those that look like it are answered. */
function learn(stanza: string, payload: string): Pattern {
  const outerEnd = stanza.indexOf('>')
  const inner = stanza.indexOf('<iq', outerEnd)
  const innerEnd = stanza.indexOf('>', inner)
  const hole = (from: number, to: number, name: string): Hole | undefined => {
    const at = attributeAt(stanza, from, to, name)
    return at < 0 ? undefined : { at, length: stanza.indexOf(stanza[at - 1]!, at) - at }
  }
  const id = hole(0, outerEnd, 'id')
  const innerId = hole(inner, innerEnd, 'id')
  const asker = hole(inner, innerEnd, 'from')
  const server = attribute(stanza, 0, outerEnd, 'from')
  const xmlns = attribute(stanza, outerEnd, inner, 'xmlns')
  if (
    inner < 0 ||
    !xmlns ||
    !id ||
    !asker ||
    !innerId ||
    !server ||
    !stanza.includes(REQUEST_MARK, innerEnd)
  ) {
    throw new Error(`no forwarded request: ${stanza.slice(0, 800)}`)
  }
  // Without `to` the request was for the asker's own account.
  const to = hole(inner, innerEnd, 'to')
  const account = to ?? { at: asker.at, length: stanza.indexOf('/', asker.at) - asker.at }
  const holes = to === undefined ? [id, innerId, asker] : [id, innerId, asker, to]
  const request = new Skeleton(Buffer.from(stanza, 'latin1'), holes)

  const value = ({ at, length }: Hole) => stanza.slice(at, at + length)
  const from = value(account)
  const parts = { xmlns, id: value(id), server, innerId: value(innerId), from, asker: value(asker) }
  const answer = delegatedAnswer(parts, payload)
  const answerEnd = answer.indexOf('>')
  const answerInner = answer.indexOf('<iq', answerEnd)
  const copies = [
    ...[id.at, attributeAt(answer, 0, answerEnd, 'id'), id.length],
    ...[innerId.at, attributeAt(answer, answerInner, answer.length, 'id'), innerId.length],
    ...[account.at, attributeAt(answer, answerInner, answer.length, 'from'), account.length],
    ...[asker.at, attributeAt(answer, answerInner, answer.length, 'to'), asker.length],
  ]
  return { request, answer: Buffer.from(answer, 'latin1'), copies }
}

function discoAnswer(stanza: string, head: number): string {
  const id = attribute(stanza, 0, head, 'id')
  const from = attribute(stanza, 0, head, 'to') ?? COMPONENT
  const to = attribute(stanza, 0, head, 'from')
  const node = attribute(stanza, head, stanza.length, 'node') ?? ''
  return (
    `<iq type='result' id='${id}' from='${from}' to='${to}'>` +
    `<query xmlns='http://jabber.org/protocol/disco#info' node='${node}'/></iq>`
  )
}
