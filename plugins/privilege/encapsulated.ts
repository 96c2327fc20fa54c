/** Takes the stanza out of the wrappers that an entity has put around it. */

import {
  type Element,
  escapeText,
  NS_CLIENT,
  NS_FORWARD,
  Stanza,
  StanzaError,
  serialize,
} from '../../server/index.ts'

/** XEP-0297 §3.1 allows it beside what is forwarded. */
const NS_DELAY = 'urn:xmpp:delay'

/**
 * The encapsulated stanza, standing on its own.
 *
 * @param wrapper - the element around it
 * @param name - `iq` or `message`
 * @throws StanzaError `forbidden` where its namespace is not `jabber:client` (§6.3); `bad-request` where there
 *   is none, or more than one
 */
export function encapsulated(wrapper: Element, name: 'iq' | 'message'): Stanza {
  const child = onlyChild(wrapper)
  if (child?.getName() !== name) {
    throw new StanzaError('bad-request', `<${wrapper.getName()}/> must have one <${name}/>, and nothing else`)
  }
  if (child.getNS() !== NS_CLIENT) {
    throw new StanzaError('forbidden', `The namespace of the encapsulated <${name}/> must be ${NS_CLIENT}`)
  }
  const attrs = new Map<string, string>()
  // What the content needs of declarations outside goes along.
  for (let element: Element | null = child; element !== null; element = element.parent) {
    for (const [key, value] of Object.entries(element.attrs as Record<string, string>)) {
      const isOwn = element === child ? key !== 'xmlns' : key.startsWith('xmlns:')
      if (isOwn && !attrs.has(key)) attrs.set(key, value)
    }
  }
  const defaultNs = String(child.findNS() ?? '')
  let inner = ''
  for (const part of child.children as (Element | string)[]) {
    if (typeof part !== 'object') {
      inner += escapeText(part)
      continue
    }
    // A stanza with a prefix leaves its content in the default namespace around it: said so on each child.
    if (defaultNs !== NS_CLIENT && part.attrs.xmlns === undefined) part.attrs.xmlns = defaultNs
    inner += serialize(part)
  }
  return Stanza.fromInner(name, Object.fromEntries(attrs), inner)
}

/** The `<forwarded/>` in a `<privilege/>` (§5.1). @throws StanzaError `bad-request` if that is not all there is */
export function forwardedIn(privilege: Element): Element {
  const child = onlyChild(privilege)
  if (child?.getName() !== 'forwarded' || child.getNS() !== NS_FORWARD) {
    throw new StanzaError('bad-request', '<privilege/> must have one <forwarded/>, and nothing else')
  }
  return child
}

function onlyChild(parent: Element): Element | undefined {
  const children = (parent.children as (Element | string)[]).filter(
    (child): child is Element =>
      typeof child === 'object' &&
      !(parent.getName() === 'forwarded' && child.getName() === 'delay' && child.getNS() === NS_DELAY),
  )
  return children.length === 1 ? children[0] : undefined
}
