/** Wrapping a request for its manager, and taking the answer out of the reply (F2, F4). */

import {
  type Element,
  emptyAttributes,
  endOfContent,
  endOfTag,
  escapeAttribute,
  escapeText,
  NS_CLIENT,
  NS_DELEGATION,
  NS_DELEGATION_1,
  NS_FORWARD,
  nextAttribute,
  type Outline,
  type OutlineElement,
  payloadAttributes,
  Stanza,
  serialize,
} from '../../server/index.ts'

/** How the wrappers open: as we write them, and as libraries do that quote with `"`. */
interface Opening {
  readonly single: string
  readonly double: string
}

function openingOf(xmlns: string): Opening {
  const single = `<delegation xmlns='${xmlns}'><forwarded xmlns='${NS_FORWARD}'>`
  return { single, double: single.replaceAll("'", '"') }
}

const OPEN = openingOf(NS_DELEGATION)
const OPEN_1 = openingOf(NS_DELEGATION_1)
// The quote is open still: what follows closes it.
const FORWARD = `${OPEN.single}<iq xmlns='${NS_CLIENT}`
const FORWARD_1 = `${OPEN_1.single}<iq xmlns='${NS_CLIENT}`
const CLOSE = '</forwarded></delegation>'
const CLOSE_IQ = `</iq>${CLOSE}`

/**
 * The IQ that a manager is sent (F2).
 *
 * @param request - of the asker; stays as it is
 * @param id - of the new IQ
 * @param from - the host that delegates
 * @param to - the manager
 * @param xmlns - the delegation namespace that the manager speaks
 */
export function wrap(request: Stanza, id: string, from: string, to: string, xmlns = NS_DELEGATION): Stanza {
  return Stanza.fromText('iq', { type: 'set', id, from, to }, wrapped(request, xmlns), 1, 'delegation', xmlns)
}

function wrapped(request: Stanza, xmlns: string): string {
  return forwardedStart(request.attrs.from, xmlns) + forwardedRest(request)
}

/**
 * What stands in the wrapper of each of somebody's requests, up to the value of `from`, whose quote is open still.
 *
 * @param from - the asker
 * @param xmlns - the delegation namespace that the manager speaks
 */
export function forwardedStart(from: string | undefined, xmlns: string): string {
  const start = xmlns === NS_DELEGATION ? FORWARD : FORWARD_1
  return from === undefined ? start : `${start}' from='${escapeAttribute(from)}`
}

/** The rest of what stands in a wrapper: the other attributes of a request, its content, and the end tags. */
export function forwardedRest({ attrs, inner }: Stanza): string {
  let text = ''
  for (const name in attrs) {
    if (name === 'from' || name === 'xmlns') continue
    const value = attrs[name]
    if (value !== undefined && value !== null) text += nextAttribute(name) + escapeAttribute(value)
  }
  return inner === '' ? `${text}'/>${CLOSE}` : `${text}'>${inner}${CLOSE_IQ}`
}

/** What stood in a wrapper. */
export interface Unwrapped {
  /** Attributes of the inner IQ, its namespace left out; declarations of prefixes that it needs are there. */
  readonly attrs: Record<string, string>
  /** Its content. */
  readonly inner: string
  /** How many child elements it has. */
  readonly childCount: number
}

/**
 * Takes the inner IQ out of a manager's result.
 *
 * @param xmlns - the delegation namespace of the request
 * @returns the IQ, or a sentence that says why there is none
 */
export function unwrap(reply: Stanza, xmlns = NS_DELEGATION): Unwrapped | string {
  if (!reply.isText) return unwrapTree(reply, xmlns)
  return unwrapLocated(reply, xmlns) ?? unwrapText(reply, xmlns) ?? unwrapTree(reply, xmlns)
}

/** Where the inner IQ of replies of one shape is; null if `unwrapText` would not take it from them. */
type InnerIq = OutlineElement | null

/** By the outline of the reply; apart for each delegation namespace. */
const INNER = new WeakMap<Outline, InnerIq>()
const INNER_1 = new WeakMap<Outline, InnerIq>()

/**
 * The quickest way, for replies of a shape that was seen before: where its parts are is known. Undefined leaves it
 * to the others.
 */
export function unwrapLocated(reply: Stanza, xmlns = NS_DELEGATION): Unwrapped | undefined {
  const { located } = reply
  if (located === undefined) return undefined
  const { pattern, cuts, text } = located
  const known = xmlns === NS_DELEGATION ? INNER : INNER_1
  let iq = known.get(pattern.outline)
  if (iq === undefined) {
    iq = innerIq(pattern.outline, xmlns)
    known.set(pattern.outline, iq)
  }
  if (iq === null) return undefined
  const { attributes, values, start, end, childCount } = iq
  const attrs = emptyAttributes()
  for (let k = 0; k < attributes.length; k++) {
    attrs[attributes[k]!] = pattern.valueOf(values[k]!, text, cuts)
  }
  return { attrs, inner: text.slice(pattern.placeOf(start, cuts), pattern.placeOf(end, cuts)), childCount }
}

/** The IQ in the wrappers, if there is nothing else in or on them. */
function innerIq({ attributes, childCount, text, elements }: Outline, xmlns: string): InnerIq {
  const [delegation, forwarded, iq] = elements
  if (delegation === undefined || forwarded === undefined || iq === undefined) return null
  // Declarations on the reply itself might be in use within.
  if (childCount !== 1 || text || attributes.some((name) => name.startsWith('xmlns:'))) return null
  const wraps = (outer: OutlineElement, index: number, name: string, namespace: string) =>
    outer.name === name &&
    outer.xmlns === namespace &&
    outer.parent === index - 1 &&
    outer.childCount === 1 &&
    outer.attributes.length === 0 &&
    !outer.text
  if (!wraps(delegation, 0, 'delegation', xmlns) || !wraps(forwarded, 1, 'forwarded', NS_FORWARD)) return null
  return iq.name === 'iq' && iq.xmlns === NS_CLIENT && iq.parent === 1 && iq.childCount <= 1 && !iq.text
    ? iq
    : null
}

/**
 * The quick way, for replies that are written as nearly all are. Undefined leaves it to the tree: a prefix
 * from a wrapper, space between the wrappers, several children, and everything that is wrong.
 */
export function unwrapText(reply: Stanza, xmlns = NS_DELEGATION): Unwrapped | undefined {
  const text = reply.inner
  const { single, double } = xmlns === NS_DELEGATION ? OPEN : OPEN_1
  if (!text.startsWith(single) && !text.startsWith(double)) return undefined
  for (const name in reply.attrs) if (name.startsWith('xmlns:')) return undefined
  const open = single.length
  if (!text.startsWith('<iq ', open)) return undefined
  const tagEnd = endOfTag(text, open)
  const attrs = payloadAttributes(text.slice(open, tagEnd + 1))
  if (attrs.xmlns !== NS_CLIENT) return undefined
  delete attrs.xmlns
  let inner = ''
  let childCount = 0
  let end = tagEnd + 1
  if (text[tagEnd - 1] !== '/') {
    let close = text.indexOf('<', end)
    if (text[close + 1] === '!') return undefined
    if (text[close + 1] !== '/') {
      childCount = 1
      close = text.indexOf('<', endOfElement(text, close))
      if (text[close + 1] !== '/') return undefined
    }
    inner = text.slice(tagEnd + 1, close)
    end = close + '</iq>'.length
  }
  if (end + CLOSE.length !== text.length || !text.endsWith(CLOSE)) return undefined
  return { attrs, inner, childCount }
}

/** Where the element that opens at `open` is over. */
function endOfElement(text: string, open: number): number {
  const tagEnd = endOfTag(text, open)
  return text[tagEnd - 1] === '/' ? tagEnd + 1 : text.indexOf('>', endOfContent(text, tagEnd + 1)) + 1
}

/** The careful way. */
export function unwrapTree(reply: Stanza, xmlns = NS_DELEGATION): Unwrapped | string {
  // What has to stand in what, from the outside in.
  const wrappers = [
    ['delegation', xmlns],
    ['forwarded', NS_FORWARD],
    ['iq', NS_CLIENT],
  ] as const
  // Declarations in force, `xmlns` and `xmlns:PREFIX`. Elements can not be asked: they take xmlns='' for none.
  const scope = new Map([['xmlns', NS_CLIENT]])
  let element: Element = reply
  declare(scope, element)
  for (const [name, expected] of wrappers) {
    const child = onlyChild(element, name)
    if (typeof child === 'string') return child
    declare(scope, child)
    const colon = child.name.indexOf(':')
    const namespace = scope.get(colon < 0 ? 'xmlns' : `xmlns:${child.name.slice(0, colon)}`)
    if (namespace !== expected) return `the <${name}/> is in the namespace "${namespace}"`
    element = child
  }
  const attrs = new Map<string, string>()
  // What the content needs of declarations outside the IQ goes along.
  for (const [name, value] of scope) if (name !== 'xmlns') attrs.set(name, value)
  for (const [name, value] of Object.entries(element.attrs)) if (name !== 'xmlns') attrs.set(name, value)
  const defaultNs = scope.get('xmlns')
  let inner = ''
  let childCount = 0
  for (const child of element.children as (Element | string)[]) {
    if (typeof child === 'object') {
      childCount++
      // An IQ with a prefix leaves its content in the default namespace around it: said so on each child.
      if (defaultNs !== NS_CLIENT && child.attrs.xmlns === undefined) child.attrs.xmlns = defaultNs
      inner += serialize(child)
    } else inner += escapeText(child)
  }
  // Every name is a key like another here, `__proto__` too.
  return { attrs: Object.fromEntries(attrs), inner, childCount }
}

function declare(scope: Map<string, string>, element: Element): void {
  for (const [name, value] of Object.entries(element.attrs as Record<string, string>)) {
    if (name === 'xmlns' || name.startsWith('xmlns:')) scope.set(name, value)
  }
}

function onlyChild(parent: Element, name: string): Element | string {
  const children = (parent.children as (Element | string)[]).filter((child) => typeof child === 'object')
  const [child] = children
  if (child === undefined) return `there is no <${name}/> in <${parent.getName()}/>`
  if (children.length > 1) return `<${parent.getName()}/> has ${children.length} children instead of one`
  if (child.getName() !== name)
    return `<${parent.getName()}/> has a <${child.getName()}/> instead of a <${name}/>`
  return child
}
