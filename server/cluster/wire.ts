/** What processes of a cluster say to each other, as text: a kind, fields, and mostly a stanza. */

import { Attributes } from '../stanza/attributes.ts'
import { Stanza } from '../stanza/stanza.ts'

/**
 * Who a stanza comes from, or whom it is for, at another process: a bound client's session (`s`), a component's
 * connection (`c`), both by the session's id there, or a host (`h`), by its name.
 */
export interface Key {
  readonly kind: 's' | 'c' | 'h'
  readonly id: string
  /** Of a session the full JID, of a connection its component's domain, of a host its name. */
  readonly jid: string
}

// Ids of hosts' keys, which tell what becomes of a stanza that comes to nobody.

/** Of a copy that nobody misses: it does not come back. */
export const OTHER = '-'
/** Of a stanza whose events have been fired at another process. */
export const AGAIN = '='

/** A stanza on its way, to be worked on as one from there. With `for`, events are done: it is for that one. */
export interface StanzaMessage {
  readonly kind: 'stanza'
  readonly from: Key
  readonly for: string
  readonly stanza: Stanza
  /** Tells what of a process's presence was earlier, whatever ways it takes. 0 if it does not matter. */
  readonly number: number
}

/** Text for a session or connection, which is gone with it. */
export interface TextMessage {
  readonly kind: 'text'
  readonly for: string
  readonly text: string
}

export type Message =
  | StanzaMessage
  | TextMessage
  /** A call by name: see `Cluster.call` and `Cluster.ask`. `question` is empty if no answer is wanted. */
  | { readonly kind: 'call'; readonly name: string; readonly question: string; readonly data: unknown }
  | { readonly kind: 'answer'; readonly question: string; readonly data: unknown }

const STANZA = 'S'
const NUMBERED = 'N'
const TEXT = 'T'
const CALL = 'C'
const ANSWER = 'A'

// Fields have no line break: JIDs can not hold one, names and ids are ours. What may is JSON, or comes last.

/**
 * @param target - the id of a session of the receiver; empty if it decides who gets the stanza
 * @param number - grows with each that has one; 0 for none
 */
export function encodeStanza(from: Key, target: string, stanza: Stanza, number = 0): string {
  const { name, attrs, inner, childCount, payloadName } = stanza
  const kind = number === 0 ? STANZA : `${NUMBERED}${number}\n`
  // The payload's namespace may hold anything that a URI may; no line break is among it (see the tokenizer).
  return (
    `${kind}${target}\n${from.kind}${from.id}\n${from.jid}\n${name}\n${childCount}\n${payloadName}\n` +
    `${stanza.payloadNs}\n${JSON.stringify(attrs)}\n${inner}`
  )
}

export function encodeText(target: string, text: string): string {
  return `${TEXT}${target}\n${text}`
}

export function encodeCall(name: string, question: string, data: unknown): string {
  return `${CALL}${name}\n${question}\n${JSON.stringify(data ?? null)}`
}

export function encodeAnswer(question: string, data: unknown): string {
  return `${ANSWER}${question}\n${JSON.stringify(data ?? null)}`
}

/** @throws Error if it is none: another version of the program has sent it */
export function decode(text: string): Message {
  const fields = new Fields(text)
  switch (text[0]) {
    case NUMBERED:
    case STANZA: {
      const number = text[0] === NUMBERED ? Number(fields.next()) : 0
      const target = fields.next()
      const origin = fields.next()
      const from: Key = { kind: origin[0] as Key['kind'], id: origin.slice(1), jid: fields.next() }
      const name = fields.next()
      const childCount = Number(fields.next())
      const payloadName = fields.next()
      const payloadNs = fields.next()
      const attrs = Object.assign(new Attributes(), JSON.parse(fields.next())) as Record<string, string>
      const stanza = Stanza.fromText(name, attrs, fields.rest(), childCount, payloadName, payloadNs)
      return { kind: 'stanza', from, for: target, stanza, number }
    }
    case TEXT:
      return { kind: 'text', for: fields.next(), text: fields.rest() }
    case CALL:
      return {
        kind: 'call',
        name: fields.next(),
        question: fields.next(),
        data: JSON.parse(fields.rest()) as unknown,
      }
    case ANSWER:
      return { kind: 'answer', question: fields.next(), data: JSON.parse(fields.rest()) as unknown }
    default:
      throw new Error(`a message of a kind that is not known: ${text.slice(0, 20)}`)
  }
}

/** Reads one field after the other; the first begins behind the kind. */
class Fields {
  private readonly text: string
  private at = 1

  constructor(text: string) {
    this.text = text
  }

  next(): string {
    const end = this.text.indexOf('\n', this.at)
    if (end < 0) throw new Error('a message that lacks a field')
    const field = this.text.slice(this.at, end)
    this.at = end + 1
    return field
  }

  rest(): string {
    return this.text.slice(this.at)
  }
}
