/** Wrapping a request for its manager, and taking the answer out of the reply (F2, F4). */

import {
  type Element,
  endOfContent,
  endOfTag,
  escapeText,
  NS_CLIENT,
  NS_DELEGATION,
  NS_DELEGATION_1,
  NS_FORWARD,
  payloadAttributes,
  Stanza,
  serialize,
  writeElement,
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
const CLOSE = '</forwarded></delegation>'

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
  const open = (xmlns === NS_DELEGATION ? OPEN : OPEN_1).single
  const inner = open + writeElement('iq', { xmlns: NS_CLIENT, ...request.attrs }, request.inner) + CLOSE
  return Stanza.fromText('iq', { type: 'set', id, from, to }, inner, 1, 'delegation', xmlns)
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
  return (reply.isText ? unwrapText(reply, xmlns) : undefined) ?? unwrapTree(reply, xmlns)
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
