// What the bench sends, as text of fixed widths, and the cheapest reading of what comes back: ends are found
// by searching for end tags, attributes by their names. This is no XML parser: it reads the answers of servers
// that behave, to questions that it asked itself, and says so loudly when something looks otherwise.

/** The namespace that is delegated in the bench. */
export const DELEGATED_NAMESPACE = 'http://jabber.org/protocol/pubsub'

/** The two ends of the bench, the same for every server. */
export const HOST = 'capulet.lit'
export const COMPONENT = 'pubsub.capulet.lit'
export const SECRET = 'secret'
export const PASSWORD = 'pw'
/** Resource of the clients that make the load. */
export const RESOURCE = 'bench'

/** Localpart of the account with that number; all have the same length. */
export function userName(index: number): string {
  return `u${String(index).padStart(2, '0')}`
}

/** Length of every id made by {@link slotPrefix} and a sequence number. */
export const ID_LENGTH = 12

/** First part of the ids that client `client` uses for its request slot `slot`. */
export function slotPrefix(client: number, slot: number): string {
  return `q${String(client).padStart(2, '0')}${String(slot).padStart(2, '0')}`
}

const SEQUENCE_BASE = 1_000_000
const SEQUENCES = 9_000_000

/** An id: of fixed width, and not repeated for nine million requests of its slot. */
export function slotId(prefix: string, sequence: number): string {
  return prefix + (SEQUENCE_BASE + (sequence % SEQUENCES))
}

/** Number of the client in an id. */
export function clientOfId(id: string): number {
  return (id.charCodeAt(1) - 48) * 10 + (id.charCodeAt(2) - 48)
}

/** Number of the slot in an id. */
export function slotOfId(id: string): number {
  return (id.charCodeAt(3) - 48) * 10 + (id.charCodeAt(4) - 48)
}

/** A request in the delegated namespace, without `to`. */
export function delegatedRequest(id: string): string {
  return `<iq type='get' id='${id}'><pubsub xmlns='${DELEGATED_NAMESPACE}'><items node='princely_musings'/></pubsub></iq>`
}

/** In every right answer to {@link delegatedRequest}, however the server writes its XML. */
export const ANSWER_MARK = 'To be, or not to be'

const ANSWER =
  `<pubsub xmlns='${DELEGATED_NAMESPACE}'><items node='princely_musings'><item id='ae890ac52d0df67e'>` +
  `<entry xmlns='http://www.w3.org/2005/Atom'><title>Soliloquy</title><summary>${ANSWER_MARK}: that is the question</summary>` +
  `</entry></item></items></pubsub>`

/** The manager's answer to a forwarded request (XEP-0355 §4.3), made of the wrapper's own parts. */
export function delegatedAnswer(text: string, start: number): string {
  const outerEnd = text.indexOf('>', start)
  const inner = text.indexOf('<iq', outerEnd)
  const innerEnd = text.indexOf('>', inner)
  const asker = attribute(text, inner, innerEnd, 'from')
  // Without `to` the request was for the asker's own account.
  const from = attribute(text, inner, innerEnd, 'to') ?? asker?.slice(0, asker.indexOf('/'))
  const id = attribute(text, start, outerEnd, 'id')
  const innerId = attribute(text, inner, innerEnd, 'id')
  if (inner < 0 || id === undefined || asker === undefined || innerId === undefined) {
    throw new Error(`no forwarded request: ${text.slice(start, start + 800)}`)
  }
  const to = attribute(text, start, outerEnd, 'from')
  return (
    `<iq type='result' id='${id}' from='${COMPONENT}' to='${to}'>` +
    `<delegation xmlns='urn:xmpp:delegation:2'><forwarded xmlns='urn:xmpp:forward:0'>` +
    `<iq xmlns='jabber:client' type='result' id='${innerId}' from='${from}' to='${asker}'>${ANSWER}</iq>` +
    `</forwarded></delegation></iq>`
  )
}

/** In the body of every message of the bench. */
export const MESSAGE_MARK = 'Wherefore art thou'

/** A chat message of some 200 bytes. */
export function chatMessage(to: string, id: string): string {
  return (
    `<message type='chat' id='${id}' to='${to}'><body>O Romeo, Romeo! ${MESSAGE_MARK} Romeo? ` +
    `Deny thy father and refuse thy name; or, if thou wilt not, be but sworn my love.</body></message>`
  )
}

/**
 * The value of an attribute in the tag between `start` and `end`, whichever quotes it has; undefined without it.
 */
export function attribute(text: string, start: number, end: number, name: string): string | undefined {
  let at = text.indexOf(` ${name}=`, start)
  if (at < 0 || at >= end) return undefined
  at += name.length + 2
  const quote = text[at] === "'" ? "'" : '"'
  return text.slice(at + 1, text.indexOf(quote, at + 1))
}

const DELEGATION_START = '<delegation'
const DELEGATION_END = '</delegation></iq>'

/**
 * Where the stanza that begins at `start` ends, or -1 if its end is not there yet.
 * @throws Error when it is no stanza, e.g. a stream error or the stream's end
 */
export function stanzaEnd(text: string, start: number): number {
  const head = text.indexOf('>', start)
  if (head < 0) return -1
  const close = closeTag(text, start, head)
  if (close === undefined) throw new Error(`the server sent: ${text.slice(start, start + 400)}`)
  if (text.charCodeAt(head - 1) === 0x2f) return head + 1
  const at = text.indexOf(close, head + 1)
  return at < 0 ? -1 : at + close.length
}

function closeTag(text: string, start: number, head: number): string | undefined {
  switch (text.charCodeAt(start + 1)) {
    case 0x69: // <iq: one that wraps another ends later than with the first </iq>
      if (!text.startsWith(DELEGATION_START, head + 1)) return '</iq>'
      return DELEGATION_END
    case 0x6d:
      return '</message>'
    case 0x70:
      return '</presence>'
    default:
      return undefined
  }
}
