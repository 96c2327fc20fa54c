// Makes clients each other's contacts (subscription `both`), as people do it: subscribe, subscribed (RFC 6121 §3.1).
import { type Client, ping } from './client.ts'
import { attribute } from './reading.ts'
import { OTHER } from './skeleton.ts'
import { subscriptionPresence } from './stanzas.ts'

const LIMIT_MS = 60_000

const ROSTER_REQUEST = `<iq type='get' id='roster'><query xmlns='jabber:iq:roster'/></iq>`

/**
 * Puts all clients into each other's rosters, or the first and the others; done when the server has confirmed it to
 * everyone.
 * @throws Error when a confirmation does not come
 */
export async function befriend(clients: readonly Client[], who: 'all' | 'first' = 'all'): Promise<void> {
  const bare = clients.map(({ jid }) => jid.slice(0, jid.indexOf('/')))
  const [first, ...others] = bare
  const contactsOf = (index: number) =>
    who === 'all' ? bare.filter((contact) => contact !== bare[index]) : index === 0 ? others : [first!]
  // One has asked another, who has agreed: all pairs, both ways.
  const agreed = new Set<string>()
  const expected = bare.reduce((sum, _, index) => sum + contactsOf(index).length, 0)
  if (expected === 0) return
  let timer: NodeJS.Timeout | undefined
  try {
    await new Promise<void>((resolve, reject) => {
      const missing = () => `${expected - agreed.size} of ${expected} subscriptions were not confirmed`
      timer = setTimeout(() => reject(new Error(missing())), LIMIT_MS)
      clients.forEach(({ connection }, index) => {
        connection.onFailure = reject
        const slow = (bytes: Buffer, at: number, end: number) => {
          const stanza = bytes.toString('latin1', at, end)
          const head = stanza.indexOf('>')
          if (!stanza.startsWith('<presence')) return
          const type = attribute(stanza, 0, head, 'type')
          const from = attribute(stanza, 0, head, 'from')?.split('/')[0]
          if (type === 'subscribe') connection.send(subscriptionPresence('subscribed', from!))
          if (type === 'error') throw new Error(`no subscription: ${stanza}`)
          if (type === 'subscribed') agreed.add(`${from} ${bare[index]}`)
          if (agreed.size === expected) resolve()
        }
        connection.listen({ quick: () => OTHER, slow })
        // Subscription requests are for clients that want to know of their rosters (RFC 6121 §2.1.3, §3.1.3).
        connection.send(ROSTER_REQUEST)
        for (const contact of contactsOf(index)) connection.send(subscriptionPresence('subscribe', contact))
      })
    })
  } finally {
    clearTimeout(timer)
  }
  // What was confirmed last may still be on its way into the other half of a server.
  for (let times = 0; times < 2; times++) for (const { connection } of clients) await ping(connection)
}
