/** Elements to text that every conforming parser reads back as they were. */

import type { Element } from '@xmpp/xml'

// What stands for a character: nothing (it may stand as it is), or the index of its escape.
const ESCAPES = [
  '',
  '&amp;',
  '&lt;',
  '&gt;',
  '&quot;',
  '&apos;',
  '&#x9;',
  '&#xA;',
  '&#xD;',
  '\ufffd',
] as const
const REPLACED = 9
const IN_TEXT = new Uint8Array(0x80)
const IN_ATTRIBUTE = new Uint8Array(0x80)
for (const table of [IN_TEXT, IN_ATTRIBUTE]) {
  table.fill(REPLACED, 0, 0x20)
  table[0x26] = 1
  table[0x3c] = 2
  table[0x3e] = 3
  // A carriage return that is not written as a reference is read as a line feed (XML 1.0 §2.11).
  table[0x0d] = 8
}
IN_TEXT[0x09] = 0
IN_TEXT[0x0a] = 0
// In a value tabs and line feeds would be read as spaces (XML 1.0 §3.3.3).
IN_ATTRIBUTE[0x09] = 6
IN_ATTRIBUTE[0x0a] = 7
IN_ATTRIBUTE[0x22] = 4
IN_ATTRIBUTE[0x27] = 5

/**
 * Text for the content of an element. Characters that XML does not allow (§2.2) become U+FFFD.
 *
 * @returns the text itself if nothing is to be escaped
 */
export function escapeText(text: string): string {
  // Mostly nothing is to be escaped. So small, and with its table known, V8 puts the loop where it is called.
  for (let at = 0; at < text.length; at++) {
    const c = text.charCodeAt(at)
    if (c >= 0x80 || IN_TEXT[c] !== 0) return escapeWith(text, IN_TEXT)
  }
  return text
}

/** Text for an attribute value, in either kind of quotes. As `escapeText`. */
export function escapeAttribute(text: string): string {
  for (let at = 0; at < text.length; at++) {
    const c = text.charCodeAt(at)
    if (c >= 0x80 || IN_ATTRIBUTE[c] !== 0) return escapeWith(text, IN_ATTRIBUTE)
  }
  return text
}

function escapeWith(text: string, table: Uint8Array): string {
  const { length } = text
  let escaped = ''
  let from = 0
  for (let at = 0; at < length; at++) {
    const c = text.charCodeAt(at)
    let kind = 0
    if (c < 0x80) kind = table[c]!
    else if (c >= 0xd800) {
      if (c < 0xdc00 && isTrail(text.charCodeAt(at + 1))) at++
      else if (c < 0xe000 || c >= 0xfffe) kind = REPLACED
    }
    if (kind !== 0) {
      escaped += text.slice(from, at) + ESCAPES[kind]
      from = at + 1
    }
  }
  return from === 0 ? text : escaped + text.slice(from)
}

function isTrail(c: number): boolean {
  return c >= 0xdc00 && c < 0xe000
}

/** An element that is being written, and which of its children is next. */
interface Frame {
  element: Element
  next: number
}

/**
 * Writes an element. Attributes and children that are undefined or null are left out; numbers and the like
 * are written as their text. Names are written as they are: they are the program's, never the peer's.
 */
export function serialize(element: Element): string {
  let text = startTag(element)
  if (element.children.length === 0) return text
  // A stack of our own: a tree may be deeper than the program's.
  const stack: Frame[] = [{ element, next: 0 }]
  while (stack.length > 0) {
    const frame = stack[stack.length - 1]!
    const { children, name } = frame.element
    if (frame.next === children.length) {
      text += `</${name}>`
      stack.pop()
      continue
    }
    const child: unknown = children[frame.next++]
    if (child === undefined || child === null) continue
    if (isElement(child)) {
      text += startTag(child)
      if (child.children.length > 0) stack.push({ element: child, next: 0 })
    } else {
      text += escapeText(String(child))
    }
  }
  return text
}

function startTag(element: Element): string {
  let text = `<${element.name}`
  const attrs = element.attrs as Record<string, unknown>
  for (const name in attrs) {
    const value = attrs[name]
    if (value === undefined || value === null) continue
    text += ` ${name}="${escapeAttribute(String(value))}"`
  }
  return text + (element.children.length === 0 ? '/>' : '>')
}

// By what it has, not by its class: a plugin may have its own copy of the library.
function isElement(child: unknown): child is Element {
  return typeof child === 'object' && child !== null && 'attrs' in child && 'children' in child
}
