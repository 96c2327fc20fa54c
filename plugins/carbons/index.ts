/** Copies of an account's conversations for all of its resources that want them (XEP-0280). */

import {
  bareOf,
  definePlugin,
  type Host,
  localOf,
  NS_CARBONS,
  NS_CLIENT,
  NS_FORWARD,
  NS_STANZA_ID,
  reply,
  resourceOf,
  type Stanza,
  type StanzaEvent,
  type StreamSession,
  writeElement,
} from '../../server/index.ts'
import { Answering, keyOf } from './answering.ts'
import { isCopied } from './eligible.ts'

/** Milliseconds that other processes have to hear of a resource. */
const HEARD_MS = 2000

/** A copy on its way to an account's resources. */
interface Copy {
  readonly username: string
  readonly direction: 'sent' | 'received'
  readonly type: string | undefined
  /** The message with its addresses, as text. */
  readonly text: string
  /** Full JIDs that have the message itself. */
  readonly except: readonly string[]
}

/** Something that a session has ended without, and which of the account's others may have a copy of. */
interface Had {
  readonly username: string
  /** Milliseconds since 1970. */
  readonly when: number
  readonly key: string
}

/** Milliseconds that another process may take to say whether a resource there has had a copy. */
const ASK_MS = 5000

export default definePlugin({
  name: 'carbons',
  hostType: 'host',
  load(module) {
    const { host } = module
    const { cluster } = host.server
    /** Who wants copies, and since when in milliseconds since 1970. */
    const wanting = new WeakMap<StreamSession, number>()
    const answering = new Answering()
    /** Ids that messages have in the archives of those who have sent them. */
    const sentIds = module.shared('mam/sent-ids', () => new WeakMap<Stanza, string>())
    const callName = `carbons ${host.name}`
    const askName = `carbons/had ${host.name}`
    module.addFeature(NS_CARBONS)

    module.hook(`iq-set/self/${NS_CARBONS}:enable`, async ({ origin, stanza }) => {
      const session = origin as StreamSession
      if (!wanting.has(session)) wanting.set(session, Date.now())
      // From now on it gets copies of all, also from processes that may not know yet that it is there.
      await cluster?.calls.heard(HEARD_MS)
      origin.send(reply(stanza))
      return true
    })
    module.hook(`iq-set/self/${NS_CARBONS}:disable`, ({ origin, stanza }) => {
      wanting.delete(origin as StreamSession)
      origin.send(reply(stanza))
      return true
    })

    const copyHere = (copy: Copy): void => {
      for (const session of host.accounts.get(copy.username)?.sessions.values() ?? []) {
        if (!wanting.has(session) || session.destroyed || copy.except.includes(session.fullJid!)) continue
        session.sendText(carbon(session, copy))
      }
    }
    const copyEverywhere = (copy: Copy): void => {
      copyHere(copy)
      cluster?.calls.tell(cluster.holdersOf(host, copy.username), callName, copy)
    }
    /** Whether another resource here has had a copy of what was received at some time. It answers for that now. */
    const hadCopy = ({ username, when, key }: Had): boolean => {
      for (const session of host.accounts.get(username)?.sessions.values() ?? []) {
        if (session.destroyed || !(wanting.get(session)! < when)) continue
        answering.add(session, key)
        return true
      }
      return false
    }
    if (cluster !== undefined) {
      module.onUnload(cluster.calls.on(callName, (copy) => copyHere(copy as Copy)))
      module.onUnload(cluster.calls.on(askName, (data) => hadCopy(data as Had)))
    }

    const sent = ({ origin, stanza }: StanzaEvent): undefined => {
      const session = origin as StreamSession
      // The host itself, for which a component speaks, has no resources.
      if (session.username === undefined) return undefined
      // Most accounts have one resource.
      if (isAlone(host, session) || !isCopied(stanza, 'sent')) return undefined
      const { fullJid, username } = session
      const text = copied(stanza, idIn(session, sentIds.get(stanza)))
      copyEverywhere({
        username,
        direction: 'sent',
        type: stanza.attrs.type,
        text,
        except: [fullJid!],
      })
    }
    for (const target of ['bare', 'full', 'host']) {
      module.hook(`pre-message/${target}` as 'pre-message/bare', sent, -0.5)
    }

    const received = ({ origin, stanza }: StanzaEvent): undefined => {
      const to = stanza.attrs.to ?? bareOf(origin.fullJid ?? '')
      const username = localOf(to)
      const { type } = stanza.attrs
      if (username === undefined || (type !== 'error' && isOnly(host, username))) return undefined
      // Where it was before, it has been copied.
      if (!isCopied(stanza, 'received') || cluster?.returned.has(stanza)) return undefined
      const isGone = resourceOf(to) !== undefined && host.server.fullJids.get(to)?.destroyed !== false
      // RFC 6121 §8.5.3.2.1: it is refused. An error is dropped, and who has had a copy of its cause gets one of it.
      if (isGone && type !== 'chat' && type !== 'error') return undefined
      const except = isGone && type === 'error' ? [] : takers(host, username, to)
      // Nobody is there.
      if (except.length === 0 && type !== 'error') return undefined
      // Who writes to the own account has the message: it has been copied as sent.
      if (origin.fullJid !== undefined && bareOf(origin.fullJid) === bareOf(to)) return undefined
      const text = copied(stanza)
      copyEverywhere({ username, direction: 'received', type, text, except })
    }
    module.hook('message/bare', received)
    module.hook('message/full', received)

    // XEP-0198 §4: what a session has not acknowledged goes to others, if they have not had it already.
    module.hook('delivery/elsewhere', ({ session, stanza, when }) => {
      const { username } = session
      if (username === undefined || !isCopied(stanza, 'received')) return undefined
      const had: Had = { username, when, key: keyOf(stanza) }
      if (hadCopy(had)) return true
      const holders = cluster?.holdersOf(host, username)
      if (cluster === undefined || holders === undefined || holders.size === 0) return undefined
      return cluster.calls
        .ask(holders, askName, had, ASK_MS)
        .then((answers) => [...answers.values()].includes(true))
    })
    module.hook('delivery/copy', ({ session, stanza }) => answering.has(session, stanza) || undefined)
  },
})

/** Who gets a message itself (RFC 6121 §8.5), by full JID. */
function takers(host: Host, username: string, to: string): string[] {
  const there = host.server.fullJids.get(to)
  if (there !== undefined && !there.destroyed) return [to]
  let highest = 0
  let found: string[] = []
  for (const resource of host.resourcesOf(username)) {
    if (!resource.available || resource.destroyed || resource.priority < highest) continue
    if (resource.priority > highest) found = []
    highest = resource.priority
    found.push(resource.fullJid!)
  }
  return found
}

/** Whether no more than one resource of an account is bound. */
function isOnly(host: Host, username: string): boolean {
  const elsewhere = host.server.cluster?.directory.resourcesOf(`${username}@${host.name}`).length ?? 0
  return (host.accounts.get(username)?.sessions.size ?? 0) + elsewhere < 2
}

function isAlone(host: Host, session: StreamSession): boolean {
  return session.account?.sessions.size === 1 && isOnly(host, session.username!)
}

/** XEP-0359: the id that a message has in the archive of who has sent it. */
function idIn(session: StreamSession, id: string | undefined): string {
  return id === undefined
    ? ''
    : writeElement('stanza-id', { xmlns: NS_STANZA_ID, by: session.bareJid!, id }, '')
}

/**
 * A message as it is forwarded. It is of the namespace that clients speak (XEP-0297 §3).
 *
 * @param more - XML to put behind its content
 */
function copied(stanza: Stanza, more = ''): string {
  return writeElement(stanza.name, { ...stanza.attrs, xmlns: NS_CLIENT }, stanza.inner + more)
}

/** XEP-0280 §7, §8: from the account itself, and of the same type. */
function carbon(session: StreamSession, { direction, type, text }: Copy): string {
  const forwarded = writeElement('forwarded', { xmlns: NS_FORWARD }, text)
  const content = writeElement(direction, { xmlns: NS_CARBONS }, forwarded)
  return writeElement('message', { from: session.bareJid!, to: session.fullJid!, type }, content)
}
