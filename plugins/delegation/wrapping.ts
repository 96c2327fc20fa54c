/** Wrapping a request for its manager, and taking the answer out of the reply (F2, F4). */

import {
  type Element,
  endOfContent,
  endOfTag,
  escapeText,
  NS_CLIENT,
  NS_DELEGATION,
  NS_FORWARD,
  payloadAttributes,
  Stanza,
  serialize,
  writeElement,
} from '../../server/index.ts'

const OPEN = `<delegation xmlns='${NS_DELEGATION}'><forwarded xmlns='${NS_FORWARD}'>`
const CLOSE = '</forwarded></delegation>'
/** The same as libraries write it that quote with `"`. */
const OPEN_DOUBLE = OPEN.replaceAll("'", '"')

/**
 * The IQ that a manager is sent (F2).
 *
 * @param request - of the asker; stays as it is
 * @param id - of the new IQ
 * @param from - the host that delegates
 * @param to - the manager
 */
export function wrap(request: Stanza, id: string, from: string, to: string): Stanza {
  const inner = OPEN + writeElement('iq', { xmlns: NS_CLIENT, ...request.attrs }, request.inner) + CLOSE
  return Stanza.fromText('iq', { type: 'set', id, from, to }, inner, 1, 'delegation', NS_DELEGATION)
}

/** What stood in a wrapper. */
export interface Unwrapped {
  /** Attributes of the inner IQ, its namespace left out; declarations of prefixes that it needs are there. */
  readonly attrs: Record<string, string>
  /** Its content. */
  readonly inner: string
}

/**
 * Takes the inner IQ out of a manager's result.
 *
 * @returns the IQ, or a sentence that says why there is none
 */
export function unwrap(reply: Stanza): Unwrapped | string {
  return (reply.isText ? unwrapText(reply) : undefined) ?? unwrapTree(reply)
}

/**
 * The quick way, for replies that are written as nearly all are. Undefined leaves it to the tree: a prefix
 * from a wrapper, space between the wrappers, and everything that is wrong.
 */
export function unwrapText(reply: Stanza): Unwrapped | undefined {
  const text = reply.inner
  if (!text.startsWith(OPEN) && !text.startsWith(OPEN_DOUBLE)) return undefined
  for (const name in reply.attrs) if (name.startsWith('xmlns:')) return undefined
  const open = OPEN.length
  if (!text.startsWith('<iq ', open)) return undefined
  const tagEnd = endOfTag(text, open)
  const attrs = payloadAttributes(text.slice(open, tagEnd + 1))
  if (attrs.xmlns !== NS_CLIENT) return undefined
  delete attrs.xmlns
  let inner = ''
  let end = tagEnd + 1
  if (text[tagEnd - 1] !== '/') {
    const close = endOfContent(text, tagEnd + 1)
    if (close < 0) return undefined
    inner = text.slice(tagEnd + 1, close)
    end = close + '</iq>'.length
  }
  if (end + CLOSE.length !== text.length || !text.endsWith(CLOSE)) return undefined
  return { attrs, inner }
}

/** The careful way. */
export function unwrapTree(reply: Stanza): Unwrapped | string {
  const delegation = onlyChild(reply, 'delegation', NS_DELEGATION)
  if (typeof delegation === 'string') return delegation
  const forwarded = onlyChild(delegation, 'forwarded', NS_FORWARD)
  if (typeof forwarded === 'string') return forwarded
  const iq = onlyChild(forwarded, 'iq', NS_CLIENT)
  if (typeof iq === 'string') return iq
  const attrs: Record<string, string> = {}
  // What the content needs of declarations outside the IQ goes along; the nearest one counts.
  for (const element of [reply, delegation, forwarded, iq]) {
    for (const [name, value] of Object.entries(element.attrs as Record<string, string>)) {
      if (name.startsWith('xmlns:') || (element === iq && name !== 'xmlns')) attrs[name] = value
    }
  }
  let inner = ''
  for (const child of iq.children as (Element | string)[]) {
    inner += typeof child === 'object' ? serialize(inClientNs(child)) : escapeText(child)
  }
  return { attrs, inner }
}

/** An IQ with a prefix leaves its children in the namespace of the wrapper around it: said so on the child. */
function inClientNs(child: Element): Element {
  if (!child.name.includes(':') && child.attrs.xmlns === undefined) {
    const xmlns = child.getNS()
    if (xmlns !== NS_CLIENT) child.attrs.xmlns = xmlns
  }
  return child
}

function onlyChild(parent: Element, name: string, xmlns: string): Element | string {
  const children = (parent.children as (Element | string)[]).filter((child) => typeof child === 'object')
  const [child] = children
  if (child === undefined) return `there is no <${name}/> in <${parent.getName()}/>`
  if (children.length > 1) return `<${parent.getName()}/> has ${children.length} children instead of one`
  if (child.getName() !== name)
    return `<${parent.getName()}/> has a <${child.getName()}/> instead of a <${name}/>`
  if (child.getNS() !== xmlns) return `the <${name}/> is in the namespace "${child.getNS()}"`
  return child
}
