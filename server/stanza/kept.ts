/** Stanzas as they are stored. */

import { detached } from '../text.ts'
import { NS_CLIENT } from './namespaces.ts'
import { Stanza } from './stanza.ts'

/** A stanza as JSON data: its attributes, and the text between its tags, which stands on its own. */
export interface KeptStanza {
  readonly name: string
  readonly attrs: Readonly<Record<string, string>>
  readonly inner: string
}

/** What is stored of a stanza. It keeps nothing else alive. */
export function keepStanza(stanza: Stanza): KeptStanza {
  const attrs: Record<string, string> = {}
  for (const name in stanza.attrs) {
    const value = stanza.attrs[name]
    if (value !== undefined) attrs[name] = detached(value)
  }
  return { name: stanza.name, attrs, inner: detached(stanza.inner) }
}

/** A stanza of its own, made from what is stored. */
export function restoreStanza({ name, attrs, inner }: KeptStanza): Stanza {
  const own: Record<string, string> = {}
  for (const key in attrs) if (key !== 'xmlns' || attrs[key] !== NS_CLIENT) own[key] = attrs[key]!
  return Stanza.fromInner(name, own, inner)
}
