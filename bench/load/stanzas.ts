// What the bench sends, as text of fixed widths, and the names that every server is set up with.

/** The namespace that is delegated in the bench. */
export const DELEGATED_NAMESPACE = 'http://jabber.org/protocol/pubsub'

/** The two ends of the bench, the same for every server. */
export const HOST = 'capulet.lit'
export const COMPONENT = 'pubsub.capulet.lit'
export const SECRET = 'secret'
export const PASSWORD = 'pw'
/** Resource of the clients that make the load. */
export const RESOURCE = 'bench'

/** The namespaces delegated to the component: that of the load, then others that nobody uses. */
export function delegatedNamespaces(count: number): string[] {
  return Array.from({ length: count }, (_, index) => {
    return index === 0 ? DELEGATED_NAMESPACE : `urn:bench:ns:${index}`
  })
}

const NUMBER_WIDTH = 4
/** How many clients, or further accounts, there can be: their numbers have a fixed width. */
export const MOST_CLIENTS = 10 ** NUMBER_WIDTH

function padded(number: number, width: number): string {
  return String(number).padStart(width, '0')
}

/** Localpart of the client with that number; all have the same length. */
export function userName(index: number): string {
  return `u${padded(index, NUMBER_WIDTH)}`
}

/** Localpart of an account beside those of the clients, for bystanders, idle sessions and logins. */
export function spareName(index: number): string {
  return `b${padded(index, NUMBER_WIDTH)}`
}

/** Resource of another session, of the same length as {@link RESOURCE}: the floor relies on that. */
export function idleResource(index: number): string {
  return `i${padded(index, NUMBER_WIDTH)}`
}

/** Full JID of the client with that number. */
export function clientJid(index: number): string {
  return `${userName(index)}@${HOST}/${RESOURCE}`
}

const SLOT_WIDTH = 3
const SEQUENCE_WIDTH = 7
/** How many operations a client can have in flight. */
export const MOST_SLOTS = 10 ** SLOT_WIDTH
/** Sequence numbers begin anew after so many: none is in flight for that long. */
export const SEQUENCES = 10 ** SEQUENCE_WIDTH

/** Where the parts of an id stand in it: `q`, client, slot, sequence number. */
const CLIENT_AT = 1
const SLOT_AT = CLIENT_AT + NUMBER_WIDTH
const SEQUENCE_AT = SLOT_AT + SLOT_WIDTH
/** Length of every id of an operation. */
export const ID_LENGTH = SEQUENCE_AT + SEQUENCE_WIDTH

/** The id of an operation: of one width, and not repeated for ten million operations of its client and slot. */
export function operationId(client: number, slot: number, sequence: number): string {
  return `q${padded(client, NUMBER_WIDTH)}${padded(slot, SLOT_WIDTH)}${padded(sequence, SEQUENCE_WIDTH)}`
}

/** Writes the digits of an id over those of another that begins at `at`. */
export function writeId(bytes: Uint8Array, at: number, client: number, slot: number, sequence: number): void {
  writeDigits(bytes, at + SLOT_AT, client, NUMBER_WIDTH)
  writeDigits(bytes, at + SEQUENCE_AT, slot, SLOT_WIDTH)
  writeDigits(bytes, at + ID_LENGTH, sequence, SEQUENCE_WIDTH)
}

/** Number of the client in the id that begins at `at`; nothing sensible if there is none. */
export function clientIn(bytes: Uint8Array, at: number): number {
  return readDigits(bytes, at + CLIENT_AT, at + SLOT_AT)
}

/** Number of the slot in an id. */
export function slotIn(bytes: Uint8Array, at: number): number {
  return readDigits(bytes, at + SLOT_AT, at + SEQUENCE_AT)
}

/** Sequence number in an id. */
export function sequenceIn(bytes: Uint8Array, at: number): number {
  return readDigits(bytes, at + SEQUENCE_AT, at + ID_LENGTH)
}

/** The number that the digits from `from` to `to` write. */
export function readDigits(bytes: Uint8Array, from: number, to: number): number {
  let number = 0
  for (let at = from; at < to; at++) number = number * 10 + (bytes[at]! - 48)
  return number
}

function writeDigits(bytes: Uint8Array, end: number, number: number, width: number): void {
  let left = number
  for (let at = end - 1; at >= end - width; at--) {
    const tens = (left / 10) | 0
    bytes[at] = 48 + left - tens * 10
    left = tens
  }
}

/** In every forwarded request, however the server writes its XML. */
export const REQUEST_MARK = 'princely_musings'

/** A request in the delegated namespace, without `to`. */
export function delegatedRequest(id: string): string {
  return `<iq type='get' id='${id}'><pubsub xmlns='${DELEGATED_NAMESPACE}'><items node='${REQUEST_MARK}'/></pubsub></iq>`
}

/** In every right answer to {@link delegatedRequest}, at the payload's beginning and at its end. */
export const ANSWER_MARK = 'To be, or not to be'
export const ANSWER_END_MARK = 'Be all my sins remembered'

/**
 * The payload of an answer, in items of some 200 bytes each, as a list of entries is.
 * @param bytes its length, 190 at least; 0: one item as a publish-subscribe service sends it, of some 300 bytes
 */
export function answerPayload(bytes: number): string {
  if (bytes === 0) {
    const text = `<title>${ANSWER_MARK}</title><summary>${ANSWER_END_MARK}</summary>`
    return wrapItems(
      `<item id='ae890ac52d0df67e'><entry xmlns='http://www.w3.org/2005/Atom'>${text}</entry></item>`,
    )
  }
  const item = (id: number, text: string) => `<item id='${padded(id, 4)}'>${text}</item>`
  const first = item(0, ANSWER_MARK)
  const last = (text: string) => item(9999, text + ANSWER_END_MARK)
  const room = bytes - wrapItems(first + last('')).length
  if (room < 0) throw new Error(`payloads have ${bytes - room} bytes at least`)
  const verse = `<entry xmlns='http://www.w3.org/2005/Atom'><title>Soliloquy</title><summary>${'Whether tis nobler. '.repeat(4)}</summary></entry>`
  const middle: string[] = []
  let left = room
  for (let id = 1; left >= item(0, verse).length; id++) {
    const one = item(id % 10_000, verse)
    middle.push(one)
    left -= one.length
  }
  return wrapItems(first + middle.join('') + last('.'.repeat(left)))
}

function wrapItems(items: string): string {
  return `<pubsub xmlns='${DELEGATED_NAMESPACE}'><items node='${REQUEST_MARK}'>${items}</items></pubsub>`
}

/** What stands in a manager's answer (XEP-0355 §4.3) beside the payload. */
export interface AnswerParts {
  /** The namespace of the wrapper's `delegation`, in which it is answered: ejabberd speaks urn:xmpp:delegation:1. */
  xmlns: string
  /** Of the wrapper, whose sender gets the answer. */
  id: string
  server: string
  /** Of the forwarded request, and whom the answer to it comes from and goes to. */
  innerId: string
  from: string
  asker: string
}

/** The manager's answer to a forwarded request (XEP-0355 §4.3). */
export function delegatedAnswer(parts: AnswerParts, payload: string): string {
  const { xmlns, id, server, innerId, from, asker } = parts
  return (
    `<iq type='result' id='${id}' from='${COMPONENT}' to='${server}'>` +
    `<delegation xmlns='${xmlns}'><forwarded xmlns='urn:xmpp:forward:0'>` +
    `<iq xmlns='jabber:client' type='result' id='${innerId}' from='${from}' to='${asker}'>${payload}</iq>` +
    `</forwarded></delegation></iq>`
  )
}

/** In the body of every message of the bench. */
export const MESSAGE_MARK = 'Wherefore art thou'

/** A chat message of some 200 bytes. @param payload that it has besides */
export function chatMessage(to: string, id: string, payload = ''): string {
  return (
    `<message type='chat' id='${id}' to='${to}'><body>O Romeo, Romeo! ${MESSAGE_MARK} Romeo? ` +
    `Deny thy father and refuse thy name; or, if thou wilt not, be but sworn my love.</body>${payload}</message>`
  )
}

/** In the body of every message that is archived, before its number. */
export const ARCHIVE_MARK = 'If music be the food of love, play on'
/** Digits of that number. */
export const ARCHIVE_DIGITS = 5
/** Messages of a page of the archive. */
export const PAGE_SIZE = 50

/** A chat message for the archive, of some 200 bytes. */
export function archivedMessage(number: number): string {
  return (
    `<message type='chat' id='a${padded(number, ARCHIVE_DIGITS)}' to='orsino@${COMPONENT}'>` +
    `<body>${archivedText(number)}: give me excess of it, that, surfeiting, the appetite may sicken, and so die.` +
    `</body></message>`
  )
}

/** How the body of an archived message begins. */
export function archivedText(number: number): string {
  return `${ARCHIVE_MARK} ${padded(number, ARCHIVE_DIGITS)}`
}

/** Asks for the last page of the archive (XEP-0313 §4.3). */
export function pageRequest(id: string): string {
  return (
    `<iq type='set' id='${id}'><query xmlns='urn:xmpp:mam:2' queryid='${id}'>` +
    `<set xmlns='http://jabber.org/protocol/rsm'><max>${PAGE_SIZE}</max><before/></set></query></iq>`
  )
}

/** In every presence of the bench. */
export const PRESENCE_MARK = 'Parting is such sweet sorrow'

/** Presence that tells something to everybody in the roster. */
export function tellingPresence(id: string): string {
  return `<presence id='${id}'><show>chat</show><status>${PRESENCE_MARK}</status></presence>`
}

/** Presence that manages subscriptions; `to` is a bare JID. */
export function subscriptionPresence(type: 'subscribe' | 'subscribed', to: string): string {
  return `<presence type='${type}' to='${to}'/>`
}
