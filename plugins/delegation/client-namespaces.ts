/** Which namespaces an account may delegate, and what they are called for people (U1, U4). */

/**
 * What no account may give away, whatever the configuration says: a manager would get at the account itself, or
 * could keep its owner from noticing and undoing it.
 *
 * - streams, login, binding, registration: passwords, and the way into the account
 * - ad-hoc commands: those of the host act for the account, and revoking a delegation is one
 * - delegation and privileges
 * - roster, blocking and privacy lists: they say who may see and reach the account, and the server acts on its own
 *   copy, so what a manager shows could be false
 * - service discovery: it says what the server offers and where; its nesting belongs to admins' delegations
 */
const VITAL = [
  'jabber:client',
  'jabber:server',
  'jabber:component:*',
  'jabber:x:data',
  'http://etherx.jabber.org/streams',
  'urn:ietf:params:xml:ns:*',
  'urn:xmpp:sasl:*',
  'urn:xmpp:bind:*',
  'urn:xmpp:fast:*',
  'urn:xmpp:sm:*',
  'jabber:iq:auth',
  'jabber:iq:register',
  'urn:xmpp:ibr-token:*',
  'urn:xmpp:invite*',
  'urn:xmpp:pars:*',
  'urn:xmpp:cam:*',
  'urn:xmpp:delegation:*',
  'urn:xmpp:privilege:*',
  'urn:xmpp:forward:*',
  'http://jabber.org/protocol/commands',
  'jabber:iq:roster',
  'jabber:iq:privacy',
  'urn:xmpp:blocking*',
  'http://jabber.org/protocol/disco#*',
]
const VITAL_EXACT = new Set(VITAL.filter((name) => !name.endsWith('*')))
const VITAL_BEGIN = VITAL.filter((name) => name.endsWith('*')).map((name) => name.slice(0, -1))

/** What the option `delegation_client_namespaces` gives. */
export type NamespaceLimits = Readonly<Record<string, readonly string[] | undefined>>

/**
 * Whether an account may delegate a namespace (U4).
 *
 * @param limits - the option: `allow` or `deny`, or neither
 */
export function mayBeGranted(namespace: string, { allow, deny }: NamespaceLimits): boolean {
  if (VITAL_EXACT.has(namespace) || VITAL_BEGIN.some((begin) => namespace.startsWith(begin))) return false
  if (allow !== undefined) return allow.includes(namespace)
  return deny?.includes(namespace) !== true
}

/** Printable ASCII without spaces, as URIs and XEPs have it: nothing else can be shown to people without doubt. */
const SHOWABLE = /^[!-~]{1,256}$/

/** Whether it can be asked for at all: it will stand in a sentence that somebody decides by. */
export function isShowable(namespace: string): boolean {
  return SHOWABLE.test(namespace)
}

const NAMES: Readonly<Record<string, string>> = {
  'http://jabber.org/protocol/pubsub':
    'publish-subscribe and personal events (avatar, bookmarks, blog, keys for encryption …)',
  'http://jabber.org/protocol/pubsub#owner': 'the management of publish-subscribe nodes',
  'urn:xmpp:mam:2': 'the message archive',
  'urn:xmpp:carbons:2': 'copies of messages for your other devices',
  'urn:xmpp:push:0': 'push notifications',
  'jabber:iq:private': 'private storage',
  'jabber:iq:last': 'last activity',
  'jabber:iq:version': 'the software version',
  'urn:xmpp:time': 'the time',
  'urn:xmpp:ping': 'ping',
  'vcard-temp': 'your vCard',
}

/** A namespace for people: its name, if it has one, and the namespace itself. */
export function namespaceLabel(namespace: string): string {
  const name = Object.hasOwn(NAMES, namespace) ? NAMES[namespace] : undefined
  return name === undefined ? namespace : `${name} (${namespace})`
}
