/** An element of a stanza as text that stands on its own, to be kept or put into another stanza. */

import type { Element } from '@xmpp/xml'
import { serialize } from './serialize.ts'

/**
 * The text of an element with every namespace that its parents declare for it, so that it means the same elsewhere.
 *
 * @param element - of a stanza, with its parents
 */
export function standaloneText(element: Element): string {
  const attrs = element.attrs as Record<string, string | undefined>
  const inherited: Record<string, string> = {}
  for (let parent = element.parent; parent; parent = parent.parent) {
    for (const name in parent.attrs) {
      if (name !== 'xmlns' && !name.startsWith('xmlns:')) continue
      if (attrs[name] === undefined && inherited[name] === undefined) inherited[name] = parent.attrs[name]
    }
  }
  if (Object.keys(inherited).length === 0) return serialize(element)
  const own = element.attrs
  element.attrs = { ...inherited, ...own }
  try {
    return serialize(element)
  } finally {
    element.attrs = own
  }
}
