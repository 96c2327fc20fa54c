/** What a session has not acknowledged when it ends: it goes where it would have gone without it (XEP-0198 §4). */

import {
  endOfTag,
  errorReply,
  type Host,
  NS_CARBONS,
  NS_MAM,
  payloadAttributes,
  restoreStanza,
  type Stanza,
  type StreamSession,
} from '../../server/index.ts'
import type { Answered } from './others.ts'
import type { Unacked } from './queue.ts'

/**
 * Gives back all that a session has not acknowledged, one after the other. It does not fail.
 *
 * @param answers - whether others answer for it
 */
export async function giveBack(
  host: Host,
  session: StreamSession,
  unacked: readonly Unacked[],
  answers: Answered | Promise<Answered>,
): Promise<void> {
  const times = distinctTimes(unacked, Date.now())
  // The session is being taken out of the tables now.
  const answered = await answers
  for (const [i, { text, receipt, spare }] of unacked.entries()) {
    const when = times[i]!
    try {
      if (receipt !== undefined) receipt.missed()
      else if (!answered[i]) await giveBackOne(host, session, text, when)
    } catch (error) {
      host.log.error('a message that was not acknowledged could not be kept', {
        user: session.username,
        error,
      })
      continue
    }
    // Whoever has it now has it for good.
    await spare?.()
  }
}

/** Times in the order of the stanzas, each another one, and before all that comes from now on: stores sort by them. */
function distinctTimes(unacked: readonly Unacked[], now: number): number[] {
  const times: number[] = []
  let next = now
  for (let i = unacked.length - 1; i >= 0; i--) {
    next = Math.min(unacked[i]!.when, next - 1)
    times[i] = next
  }
  return times
}

/** The same for one of them, of which it is known that nobody has had it. Who can take it at once, is given it so. */
export async function giveBackOne(
  host: Host,
  session: StreamSession,
  text: string,
  when: number,
): Promise<void> {
  // Presence is told anew; of subscriptions the roster knows.
  if (text.startsWith('<presence')) return
  let stanza = stanzaOf(text)
  const { type, from } = stanza.attrs
  if (stanza.name === 'iq') {
    // RFC 6121 §8.5.3.2.3
    if (type === 'get' || type === 'set') refuse(host, stanza)
    return
  }
  // RFC 6121 §8.5.3.2.1
  if (type === 'error' || type === 'headline') return
  if (from === session.bareJid && isCopy(stanza)) {
    // Somebody else has the original, or the archive.
    const original = originalIn(stanza)
    if (original === undefined || host.events.fire('delivery/copy', { session, stanza: original }) !== true)
      return
    stanza = original
  }
  const isElsewhere = host.events.fire('delivery/elsewhere', { session, stanza, when })
  if (isElsewhere instanceof Promise ? await isElsewhere : isElsewhere === true) return
  const taken = await host.events.fire('delivery/failure', { session, stanza, when })
  if (taken === undefined) refuse(host, stanza)
}

function refuse(host: Host, stanza: Stanza): void {
  const { from, to } = stanza.attrs
  if (from === undefined || to === undefined) return
  host.server.router.route(errorReply(stanza, 'service-unavailable'), host)
}

function isCopy(stanza: Stanza): boolean {
  const { payloadNs } = stanza
  return payloadNs === NS_CARBONS || payloadNs === NS_MAM
}

/** What somebody else has received, and a session has a copy of (XEP-0280 §7). */
function originalIn({ payloadName, payloadNs, inner }: Stanza): Stanza | undefined {
  if (payloadName !== 'received' || payloadNs !== NS_CARBONS) return undefined
  const end = inner.lastIndexOf('</message>')
  if (end < 0) return undefined
  const original = stanzaOf(inner.slice(inner.indexOf('<message'), end + '</message>'.length))
  delete (original.attrs as Record<string, string | undefined>).xmlns
  return original
}

/** The stanza of a text that was sent. */
export function stanzaOf(text: string): Stanza {
  const end = endOfTag(text, 0)
  const isEmpty = text.charAt(end - 1) === '/'
  const name = text.startsWith('<iq') ? 'iq' : 'message'
  const inner = isEmpty ? '' : text.slice(end + 1, text.lastIndexOf('</'))
  return restoreStanza({ name, attrs: payloadAttributes(text) as Record<string, string>, inner })
}
