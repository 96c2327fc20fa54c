/** A request for delegations by an account: who asks, whom, and for what (U1, U4). */

import {
  bareOf,
  domainOf,
  type Element,
  NS_DELEGATION,
  type Origin,
  type PreparedJid,
  prepareJid,
  type Server,
  type Stanza,
  StanzaError,
} from '../../server/index.ts'
import { isShowable } from './client-namespaces.ts'

/** Namespaces in one request: a person has to read them. */
const MOST_ASKED = 20
/** Of any version of XEP-0355. */
const DELEGATION_NAMESPACE = /^urn:xmpp:delegation:\d+$/

/** What is asked for. */
export interface DelegationRequest {
  /** Bare JID. */
  readonly account: PreparedJid & { readonly local: string }
  readonly namespaces: readonly string[]
}

/**
 * Who asks: a component by its domain, a local client by its full JID.
 *
 * A component speaks for itself only from its own address: behind the others there may be people whom it serves.
 *
 * @throws StanzaError `not-allowed`
 */
export function entityOf(origin: Origin, stanza: Stanza, server: Server): string {
  const { from } = stanza.attrs
  // Not a privileged entity's on an account's behalf (XEP-0356): that is no session.
  if (from !== undefined && server.fullJids.get(from) === origin) return from
  if (origin.type === 'component' && origin.host !== undefined) {
    // Any address at it (C4), and no other, even where the operator lets it send from others.
    if (domainOf(from ?? '') === origin.host.name) return from!
    throw new StanzaError(
      'not-allowed',
      `A component asks from an address of its own, at ${origin.host.name}`,
    )
  }
  throw new StanzaError('not-allowed', 'Only clients and components of this server can ask for delegations')
}

/** Who is limited when an entity asks (U4): a component has as many addresses as it likes. */
export function askingOf(entity: string, server: Server): string {
  const domain = domainOf(entity)
  return server.hosts.get(domain)?.hostType === 'component' ? domain : bareOf(entity)
}

/**
 * Reads a request.
 *
 * @throws StanzaError `bad-request`, `jid-malformed`; `forbidden` for the delegation namespace (XEP-0355 §8)
 */
export function readRequest(query: Element | undefined): DelegationRequest {
  const to = query?.attrs['to'] as string | undefined
  if (query === undefined || to === undefined) {
    throw new StanzaError('bad-request', "The query must have a 'to': the account that is to delegate")
  }
  const account = prepareJid(to)
  if (account === undefined) throw new StanzaError('jid-malformed', "The query's 'to' is no address")
  if (!isBareAccount(account)) {
    throw new StanzaError('bad-request', "The query's 'to' must be the bare JID of an account")
  }
  const namespaces = new Set<string>()
  for (const child of query.getChildElements()) {
    const namespace = child.attrs['namespace'] as string | undefined
    if (!child.is('delegate', NS_DELEGATION) || namespace === undefined) {
      throw new StanzaError('bad-request', 'The query may only have <delegate namespace="…"/>')
    }
    if (DELEGATION_NAMESPACE.test(namespace)) {
      throw new StanzaError('forbidden', 'The delegation namespace itself can not be delegated')
    }
    if (!isShowable(namespace)) {
      throw new StanzaError('bad-request', 'A namespace must be printable ASCII, of 256 characters at most')
    }
    namespaces.add(namespace)
  }
  if (namespaces.size === 0) throw new StanzaError('bad-request', 'The query names no namespace')
  if (namespaces.size > MOST_ASKED) {
    throw new StanzaError('bad-request', `The query names more than ${MOST_ASKED} namespaces`)
  }
  return { account, namespaces: [...namespaces] }
}

function isBareAccount(jid: PreparedJid): jid is PreparedJid & { readonly local: string } {
  return jid.local !== undefined && jid.resource === undefined
}

/** The answer for no such account, and for one that can not be asked now: the same as to any message (U4). */
export function unavailable(): StanzaError {
  return new StanzaError('service-unavailable', 'The account can not be asked')
}
