/** What a disco#info consists of (XEP-0030 §3, XEP-0128): collected from plugins, filtered, and written. */

import {
  type Element,
  type Host,
  type Identity,
  NS_DATA,
  NS_DISCO_INFO,
  serialize,
  writeElement,
} from '../../server/index.ts'

/** An identity in the language that its name is in. */
export interface AnnouncedIdentity extends Identity {
  readonly lang?: string
}

/**
 * An item of the list `disco-filter`: leaves out of the disco#info of the host and its accounts what another plugin
 * announces. It says the same until an item of the host comes or goes, or the configuration is reloaded.
 *
 * @param kind - the list that it is in
 * @param item - a feature's name, an Identity, or a form
 * @param owner - the plugin that has added it
 * @param features - what the same plugin announces for the host, and with the item
 * @returns whether it is left out
 */
export type DiscoFilter = (
  kind: 'feature' | 'identity' | 'extension',
  item: string | AnnouncedIdentity | Element,
  owner: string,
  features: readonly string[],
) => boolean

/** One part of a disco#info, and the plugin that it comes from. */
export type Part = { readonly owner: string } & (
  | { readonly kind: 'identity'; readonly item: AnnouncedIdentity }
  | { readonly kind: 'feature'; readonly item: string }
  | { readonly kind: 'extension'; readonly item: Element }
)

/** What the host's plugins have added to its lists. */
export function hostParts({ items }: Host): Part[] {
  return [
    ...items
      .entries<AnnouncedIdentity>('identity')
      .map(({ owner, item }): Part => ({ kind: 'identity', owner, item })),
    ...items.entries<string>('feature').map(({ owner, item }): Part => ({ kind: 'feature', owner, item })),
    ...items
      .entries<Element>('extension')
      .map(({ owner, item }): Part => ({ kind: 'extension', owner, item })),
  ]
}

/** What plugins have added to the answer about an account. @param owners - who has added each element */
export function accountParts(query: Element, owners: ReadonlyMap<Element, string>): Part[] {
  return query.getChildElements().map((item): Part => {
    const owner = owners.get(item) ?? ''
    const { var: feature = '', category = '', type = '', name, 'xml:lang': lang } = item.attrs
    if (item.is('feature', NS_DISCO_INFO)) return { kind: 'feature', owner, item: feature }
    if (item.is('identity', NS_DISCO_INFO))
      return { kind: 'identity', owner, item: { category, type, name, lang } }
    return { kind: 'extension', owner, item }
  })
}

/** The parts that no plugin leaves out, each once; of one kind the first counts, as in Prosody. */
export function shownParts({ items }: Host, parts: readonly Part[]): Part[] {
  const filters = items.get<DiscoFilter>('disco-filter')
  const featuresOf = new Map<string, string[]>()
  const announces = (owner: string, feature: string): void => {
    const features = featuresOf.get(owner)
    if (features === undefined) featuresOf.set(owner, [feature])
    else features.push(feature)
  }
  if (filters.length > 0) {
    for (const { owner, item } of items.entries<string>('feature')) announces(owner, item)
    for (const { kind, owner, item } of parts) if (kind === 'feature') announces(owner, item)
  }
  const shown = new Map<string, Part>()
  for (const part of parts) {
    const { kind, owner, item } = part
    if (filters.some((leavesOut) => leavesOut(kind, item, owner, featuresOf.get(owner) ?? []))) continue
    const key = keyOf(part)
    if (!shown.has(key)) shown.set(key, part)
  }
  return [...shown.values()]
}

/** The content of a disco#info. */
export function writeParts(parts: readonly Part[]): string {
  return parts.map(writePart).join('')
}

/** What makes a form that of a registry (XEP-0068); undefined if it has none, or it is not hidden. */
export function formTypeOf(form: Element): string | undefined {
  if (form.getNS() !== NS_DATA) return undefined
  const field = form.getChildren('field').find(({ attrs }) => attrs.var === 'FORM_TYPE')
  return field?.attrs.type === 'hidden' ? (field.getChildText('value') ?? undefined) : undefined
}

function writePart({ kind, item }: Part): string {
  if (kind === 'feature') return writeElement('feature', { var: item }, '')
  if (kind === 'extension') return serialize(item)
  const { category, type, lang, name } = item
  return writeElement('identity', { category, type, 'xml:lang': lang, name }, '')
}

/** What there may be only once in an answer. */
function keyOf({ kind, item }: Part): string {
  if (kind === 'feature') return `feature ${item}`
  if (kind === 'identity') return JSON.stringify([item.category, item.type, item.lang])
  // XEP-0115 §5.4 rule 3.5: two forms of one FORM_TYPE spoil the whole answer, hidden or not.
  const field = item.getChildren('field').find(({ attrs }) => attrs.var === 'FORM_TYPE')
  return `form ${field?.getChildText('value') ?? serialize(item)}`
}
