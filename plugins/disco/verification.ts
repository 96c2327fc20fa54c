/** The verification string of entity capabilities (XEP-0115 §5). */

import { createHash } from 'node:crypto'
import type { Element } from '../../server/index.ts'
import { type AnnouncedIdentity, formTypeOf, type Part } from './info.ts'

/** Ends each part of the string S. */
const END = '<'

/** What hash functions are called in `<c/>` (the IANA registry of textual names), and by OpenSSL. */
const HASHES: ReadonlyMap<string, string> = new Map([
  ['sha-1', 'sha1'],
  ['sha-224', 'sha224'],
  ['sha-256', 'sha256'],
  ['sha-384', 'sha384'],
  ['sha-512', 'sha512'],
])

/** Whether a hash function of this name can be checked here. */
export function isKnownHash(name: string): boolean {
  return HASHES.has(name)
}

/**
 * The verification string of a disco#info (XEP-0115 §5.1).
 *
 * @param parts - of the disco#info, in any order, none twice
 * @param hashName - one of those that are known; SHA-1 if left out
 * @returns undefined if one of them has in it what ends a part: others with the same string could then be taken
 *   for it, and this for them (XEP-0115 §5.4, the note)
 */
export function verificationString(parts: readonly Part[], hashName = 'sha-1'): string | undefined {
  const identities: AnnouncedIdentity[] = []
  const features: string[] = []
  const forms: [formType: string, form: Element][] = []
  for (const { kind, item } of parts) {
    if (kind === 'identity') identities.push(item)
    else if (kind === 'feature') features.push(item)
    else {
      // §5.4 rule 3.6: a form without it does not count.
      const formType = formTypeOf(item)
      if (formType !== undefined) forms.push([formType, item])
    }
  }
  const ended = [
    ...identities
      .map(({ category, type, lang = '', name = '' }) => [category, type, lang, name])
      .sort(byOctets)
      .map((identity) => identity.join('/')),
    ...features.sort(octets),
    ...forms.sort(([one], [other]) => octets(one, other)).flatMap(([type, form]) => [type, ...fields(form)]),
  ]
  if (ended.some((part) => part.includes(END))) return undefined
  const text = ended.map((part) => part + END).join('')
  return createHash(HASHES.get(hashName)!).update(text).digest('base64')
}

/** The fields of a form other than its FORM_TYPE: the name of each, then its values. */
function fields(form: Element): string[] {
  return form
    .getChildren('field')
    .filter(({ attrs }) => attrs.var !== undefined && attrs.var !== 'FORM_TYPE')
    .map((field) => [
      field.attrs.var as string,
      ...field
        .getChildren('value')
        .map((value) => value.getText())
        .sort(octets),
    ])
    .sort(byOctets)
    .flat()
}

/** The order i;octet (RFC 4790 §9.3). That of strings differs from it beyond U+FFFF. */
export function octets(one: string, other: string): number {
  return Buffer.compare(Buffer.from(one), Buffer.from(other))
}

function byOctets(one: readonly string[], other: readonly string[]): number {
  for (const [index, part] of one.entries()) {
    const order = octets(part, other[index] ?? '')
    if (order !== 0) return order
  }
  return 0
}
