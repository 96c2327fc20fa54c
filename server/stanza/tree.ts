/** Elements from text that the tokenizer has accepted, without checking it again. */

import { Element } from '@xmpp/xml'
import { Attributes } from './attributes.ts'
import { decodeAttribute, decodeCdata, decodeText } from './references.ts'

export { escapeAttribute, escapeText, serialize } from './serialize.ts'

const TAB = 0x09
const LF = 0x0a
const CR = 0x0d
const SPACE = 0x20
const EXCLAMATION = 0x21
const SLASH = 0x2f
const EQUALS = 0x3d
const GREATER = 0x3e

const CDATA_OPEN = '<![CDATA['
const CDATA_CLOSE = ']]>'

/** An element of a received stanza. `@xmpp/xml` takes `xmlns=''` for none, and looks on upwards. */
class ReceivedElement extends Element {
  override findNS(prefix?: string): string {
    const own = (this.attrs as Record<string, string | undefined>)[prefix ? `xmlns:${prefix}` : 'xmlns']
    return own ?? (this.parent?.findNS(prefix) as string)
  }
}

/**
 * The children that stand in the text between the tags of an element.
 *
 * Attributes are as written, declarations of namespaces with them; texts are decoded, and what adjoins, CDATA
 * sections too, is one string. `parent.children` is not touched.
 *
 * @param inner - text that the tokenizer has accepted. Other text gives some tree, but no error
 * @param parent - the element that the children are given as their parent
 */
export function buildChildren(inner: string, parent: Element): (Element | string)[] {
  const top: (Element | string)[] = []
  let children = top
  let current = parent
  // The elements between `parent` and `current` are found by their parents; this tells when to stop.
  let depth = 0
  let text = ''
  let at = 0
  while (at < inner.length) {
    const open = inner.indexOf('<', at)
    if (open !== at) {
      text += decodeText(open < 0 ? inner.slice(at) : inner.slice(at, open))
      if (open < 0) break
    }
    const c = inner.charCodeAt(open + 1)
    if (c === EXCLAMATION) {
      const from = open + CDATA_OPEN.length
      const end = endOf(inner, CDATA_CLOSE, from)
      text += decodeCdata(inner.slice(from, end))
      at = end + CDATA_CLOSE.length
      continue
    }
    if (text !== '') {
      children.push(text)
      text = ''
    }
    if (c === SLASH) {
      at = endOf(inner, '>', open) + 1
      if (depth > 0) {
        depth--
        current = current.parent!
        children = depth === 0 ? top : (current.children as (Element | string)[])
      }
      continue
    }
    const nameEnd = endOfName(inner, open + 1)
    const element = new ReceivedElement(inner.slice(open + 1, nameEnd))
    element.attrs = new Attributes()
    element.parent = current
    children.push(element)
    const end = readAttributes(inner, nameEnd, element.attrs as Record<string, string>)
    if (inner.charCodeAt(end) === SLASH) {
      at = end + 2
    } else {
      at = end + 1
      depth++
      current = element
      children = element.children as (Element | string)[]
    }
  }
  if (text !== '') children.push(text)
  return top
}

/**
 * The attributes of the first child element, as written, without building a tree; none if there is no child.
 *
 * @param inner - text that the tokenizer has accepted
 */
export function payloadAttributes(inner: string): Record<string, string> {
  const attrs = new Attributes()
  let open = inner.indexOf('<')
  while (open >= 0 && inner.charCodeAt(open + 1) === EXCLAMATION) {
    open = inner.indexOf('<', endOf(inner, CDATA_CLOSE, open + CDATA_OPEN.length))
  }
  if (open >= 0) readAttributes(inner, endOfName(inner, open + 1), attrs)
  return attrs
}

/** Reads the attributes that begin at `at`. Returns where the `/` or `>` is that ends the tag. */
function readAttributes(text: string, at: number, attrs: Record<string, string>): number {
  const { length } = text
  let from = at
  while (from < length) {
    const c = text.charCodeAt(from)
    if (c === GREATER || c === SLASH) return from
    if (isSpace(c)) {
      from++
      continue
    }
    const nameEnd = endOfName(text, from)
    const equals = text.indexOf('=', nameEnd)
    if (equals < 0) return length
    let open = equals + 1
    while (isSpace(text.charCodeAt(open))) open++
    const end = endOf(text, text.charAt(open) || '"', open + 1)
    attrs[text.slice(from, nameEnd)] = decodeAttribute(text.slice(open + 1, end))
    from = end + 1
  }
  return length
}

function endOfName(text: string, from: number): number {
  const { length } = text
  for (let at = from; at < length; at++) {
    const c = text.charCodeAt(at)
    if (c === GREATER || c === SLASH || c === EQUALS || isSpace(c)) return at
  }
  return length
}

function isSpace(c: number): boolean {
  return c === SPACE || c === LF || c === TAB || c === CR
}

function endOf(text: string, what: string, from: number): number {
  const at = text.indexOf(what, from)
  return at < 0 ? text.length : at
}
