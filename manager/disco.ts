/** Nested service discovery: what a managed namespace adds to the host and its accounts (XEP-0355 §7). */

import xml, { type Element } from '@xmpp/xml'
import { NS_DELEGATION, NS_DISCO_INFO, NS_DISCO_ITEMS } from '../server/stanza/namespaces.ts'

/** An identity of disco#info (XEP-0030 §3). */
export interface DiscoIdentity {
  readonly category: string
  readonly type: string
  readonly name?: string
  readonly lang?: string
}

/** What stands in somebody's disco#info because of a managed namespace. */
export interface NestedDisco {
  readonly features?: readonly string[]
  readonly identities?: readonly DiscoIdentity[]
  /** Forms as XEP-0128 has them. */
  readonly forms?: readonly Element[]
}

/** Delegates disco of bare JIDs as far as the server does not answer it (XEP-0355 §7.2.3). */
export const REMAINING_INFO = `${NS_DELEGATION}:bare:disco#info:*`
export const REMAINING_ITEMS = `${NS_DELEGATION}:bare:disco#items:*`

/** Under which name requests with this payload may be delegated, beside the payload's namespace itself. */
export function remainingDisco(namespace: string): string | undefined {
  if (namespace === NS_DISCO_INFO) return REMAINING_INFO
  return namespace === NS_DISCO_ITEMS ? REMAINING_ITEMS : undefined
}

/** The node that a host asks for what a namespace adds to its own disco#info. */
export function hostNode(namespace: string): string {
  return `${NS_DELEGATION}::${namespace}`
}

/** The same, for what it adds to that of every account. */
export function accountNode(namespace: string): string {
  return `${NS_DELEGATION}:bare:${namespace}`
}

/** The answer to a disco#info query. */
export function discoInfo(node: string, { features, identities, forms }: NestedDisco): Element {
  const query = xml('query', { xmlns: NS_DISCO_INFO, node })
  for (const { category, type, name, lang } of identities ?? []) {
    query.append(xml('identity', { category, type, name, 'xml:lang': lang }))
  }
  for (const feature of features ?? []) query.append(xml('feature', { var: feature }))
  if (forms !== undefined) query.append(...forms)
  return query
}
