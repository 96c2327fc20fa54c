/** References and line ends of accepted text: what the characters between the tags stand for. */

const TAB = 0x09
const LF = 0x0a
const CR = 0x0d
const HASH = 0x23
const AMPERSAND = 0x26
const LETTER_X = 0x78

/** Text as it was received to what it means: references resolved, line ends made `\n` (XML 1.0 §2.11). */
export function decodeText(raw: string): string {
  return decode(raw, LF)
}

/** A CDATA section to what it means: line ends made `\n`. */
export function decodeCdata(raw: string): string {
  if (!raw.includes('\r')) return raw
  let text = ''
  let from = 0
  for (let at = raw.indexOf('\r'); at >= 0; at = raw.indexOf('\r', from)) {
    text += `${raw.slice(from, at)}\n`
    from = raw.charCodeAt(at + 1) === LF ? at + 2 : at + 1
  }
  return text + raw.slice(from)
}

/** An attribute value: references resolved, white space made spaces (XML 1.0 §3.3.3). */
export function decodeAttribute(raw: string): string {
  return decode(raw, 0x20)
}

/**
 * @param lineEnd - what a line end becomes. If it is a space, so do tabs
 */
function decode(raw: string, lineEnd: number): string {
  const { length } = raw
  const inAttribute = lineEnd !== LF
  let text = ''
  let from = 0
  for (let at = 0; at < length; at++) {
    const c = raw.charCodeAt(at)
    if (c === AMPERSAND) {
      const end = raw.indexOf(';', at)
      if (end < 0) break
      text += raw.slice(from, at) + resolve(raw, at + 1, end)
      at = end
      from = end + 1
    } else if (c === CR) {
      text += raw.slice(from, at) + (inAttribute ? ' ' : '\n')
      if (at + 1 < length && raw.charCodeAt(at + 1) === LF) at++
      from = at + 1
    } else if (inAttribute && (c === LF || c === TAB)) {
      text += `${raw.slice(from, at)} `
      from = at + 1
    }
  }
  return from === 0 ? raw : text + raw.slice(from)
}

/** What the reference between `&` and `;` stands for; U+FFFD if it is none that was ever accepted. */
function resolve(raw: string, from: number, end: number): string {
  if (raw.charCodeAt(from) === HASH) {
    const hex = raw.charCodeAt(from + 1) === LETTER_X
    const code = Number.parseInt(raw.slice(hex ? from + 2 : from + 1, end), hex ? 16 : 10)
    return code >= 0 && code <= 0x10ffff ? String.fromCodePoint(code) : '\ufffd'
  }
  switch (raw.slice(from, end)) {
    case 'amp':
      return '&'
    case 'lt':
      return '<'
    case 'gt':
      return '>'
    case 'quot':
      return '"'
    case 'apos':
      return "'"
    default:
      return '\ufffd'
  }
}
