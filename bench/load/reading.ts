// The slow way of reading what servers send: ends are found by searching for end tags, attributes by their
// names. This is no XML parser: it reads the answers of servers that behave, to questions that the bench asked
// itself, and says so loudly when something looks otherwise.

/**
 * The value of an attribute in the tag between `start` and `end`, whichever quotes it has; undefined without it.
 */
export function attribute(text: string, start: number, end: number, name: string): string | undefined {
  const at = attributeAt(text, start, end, name)
  return at < 0 ? undefined : text.slice(at, text.indexOf(text[at - 1]!, at))
}

/** Where the value of an attribute begins, or -1. */
export function attributeAt(text: string, start: number, end: number, name: string): number {
  const at = text.indexOf(` ${name}=`, start)
  return at < 0 || at >= end ? -1 : at + name.length + 3
}

const DELEGATION_START = Buffer.from('<delegation')
const DELEGATION_END = Buffer.from('</delegation></iq>')
const IQ_END = Buffer.from('</iq>')
const MESSAGE_END = Buffer.from('</message>')
const RESULT_START = Buffer.from('<result')
const RESULT_END = Buffer.from('</result></message>')
const PRESENCE_END = Buffer.from('</presence>')

/**
 * Where the stanza that begins at `start` ends, or -1 if its end is not there yet.
 * @throws Error when it is no stanza, e.g. a stream error or the stream's end
 */
export function stanzaEnd(bytes: Buffer, start: number): number {
  const head = bytes.indexOf(0x3e, start)
  if (head < 0) return -1
  const close = closeTag(bytes, start, head)
  if (close === undefined) throw new Error(`the server sent: ${bytes.toString('latin1', start, start + 400)}`)
  if (bytes[head - 1] === 0x2f) return head + 1
  const at = bytes.indexOf(close, head + 1)
  return at < 0 ? -1 : at + close.length
}

function closeTag(bytes: Buffer, start: number, head: number): Buffer | undefined {
  switch (bytes[start + 1]) {
    case 0x69: // <iq: one that wraps another ends later than with the first </iq>
      return startsWith(bytes, head + 1, DELEGATION_START) ? DELEGATION_END : IQ_END
    case 0x6d: // <message: so does one from the archive
      return startsWith(bytes, head + 1, RESULT_START) ? RESULT_END : MESSAGE_END
    case 0x70:
      return PRESENCE_END
    default:
      return undefined
  }
}

function startsWith(bytes: Buffer, at: number, start: Buffer): boolean {
  return bytes.subarray(at, at + start.length).equals(start)
}
