/** What a client says that it is (XEP-0115 §5.4): whether its disco#info is sound, and whether it can be shared. */

import { type Element, NS_DATA, NS_DISCO_INFO } from '../../server/index.ts'
import { formTypeOf, type Part } from './info.ts'
import { octets } from './verification.ts'

/** §5.4 rules 3.3 to 3.5: whether nothing is there twice that makes all of it worthless. */
export function isWellFormed(query: Element): boolean {
  const seen = new Set<string>()
  for (const child of query.getChildElements()) {
    const key = keyOf(child)
    if (key === undefined) continue
    if (key === null || seen.has(key)) return false
    seen.add(key)
  }
  return true
}

/** What there may be only once; undefined for what does not count, null for a form that spoils all. */
function keyOf(child: Element): string | undefined | null {
  const { category, type, name, 'xml:lang': lang, var: feature } = child.attrs
  if (child.is('identity', NS_DISCO_INFO))
    return JSON.stringify(['identity', category, type, lang ?? '', name ?? ''])
  if (child.is('feature', NS_DISCO_INFO)) return JSON.stringify(['feature', feature])
  if (!child.is('x', NS_DATA)) return undefined
  const fields = child.getChildren('field').filter(({ attrs }) => attrs['var'] === 'FORM_TYPE')
  const types = new Set(fields.flatMap((field) => field.getChildren('value').map((value) => value.getText())))
  if (types.size > 1) return null
  const formType = formTypeOf(child)
  return formType === undefined ? undefined : JSON.stringify(['form', formType])
}

/**
 * Whether no other disco#info has the same verification string, as far as identities and features go. The string is
 * a list of texts that does not say what each is: somebody could announce what another client calls a feature as
 * an identity, or as part of a form, and so take it from all that use that client.
 */
export function isUnambiguous(parts: readonly Part[]): boolean {
  const features: string[] = []
  const formTypes: string[] = []
  for (const { kind, item } of parts) {
    if (kind === 'feature') {
      if (looksLikeIdentity(item)) return false
      features.push(item)
    } else if (kind === 'identity') {
      const { category, type, lang = '' } = item
      if (category === '' || type === '' || `${category}${type}${lang}`.includes('/')) return false
    } else {
      const formType = formTypeOf(item)
      if (formType !== undefined) formTypes.push(formType)
    }
  }
  // Features come in their order, then forms: where the order goes on, so may the features.
  const last = features.sort(octets).at(-1)
  const first = formTypes.sort(octets)[0]
  return last === undefined || first === undefined || octets(first, last) < 0
}

/** As CATEGORY/TYPE/LANG/NAME. The names of features are mostly URNs, or URLs, whose second part is empty. */
function looksLikeIdentity(feature: string): boolean {
  const [category, type, ...rest] = feature.split('/')
  return category !== '' && type !== undefined && type !== '' && rest.length >= 2
}
