/** When an account was last there (XEP-0012), for those who see its presence. */

import {
  bareOf,
  definePlugin,
  errorReply,
  localOf,
  NS_CLIENT,
  NS_LAST,
  type Origin,
  reply,
  type Stanza,
  xml,
} from '../server/index.ts'
import type { Rosters } from './roster/index.ts'

/** What is kept of an account. */
interface LastSeen {
  /** Unix time in seconds. */
  readonly when: number
  /** Of its last presence. */
  readonly status: string
}

/** Of every host with this plugin, what tells when an account was last available: Unix time in seconds. */
export type LastSeenByHost = Map<string, (username: string) => Promise<number | undefined>>

/** Characters of a status that are kept. */
const LONGEST_STATUS = 1024

export default definePlugin({
  name: 'lastactivity',
  hostType: 'host',
  depends: ['roster'],
  load(module) {
    const { host } = module
    const rosters = module.exportsOf<Rosters>('roster')
    const store = module.openStore<LastSeen>('lastactivity')
    /** What is being written. */
    const unwritten = new Map<string, LastSeen>()
    const lastOf = async (username: string) => unwritten.get(username) ?? (await store.get(username))
    module.addFeature(NS_LAST)
    const lastSeen = module.shared<LastSeenByHost>('lastactivity/hosts', () => new Map())
    lastSeen.set(host.name, async (username) => (await lastOf(username))?.when)
    module.onUnload(() => lastSeen.delete(host.name))

    const failed = (username: string) => (error: unknown) =>
      host.log.warn('when an account was last there could not be kept', { user: username, error })

    // However a session ends, its unavailable presence comes by here.
    module.hook(
      'presence/bare',
      ({ origin, stanza }) => {
        if (stanza.attrs.to !== undefined || stanza.attrs.type !== 'unavailable') return
        const username = localOf(origin.fullJid ?? '')
        if (username === undefined) return
        const seen: LastSeen = { when: now(), status: statusOf(stanza) }
        unwritten.set(username, seen)
        store
          .set(username, seen)
          .catch(failed(username))
          .finally(() => {
            if (unwritten.get(username) === seen) unwritten.delete(username)
          })
      },
      10,
    )
    // Nobody has sent it of those whose process has died. They may be many: one after the other.
    let writing: Promise<unknown> = Promise.resolve()
    module.hook('resource-lost', ({ resource: { available, username } }) => {
      if (!available) return
      const seen: LastSeen = { when: now(), status: '' }
      writing = writing
        .then(() =>
          store.update(username, (last) => (last !== undefined && last.when > seen.when ? last : seen)),
        )
        .catch(failed(username))
    })

    module.hook(`iq-get/bare/${NS_LAST}:query`, async ({ origin, stanza, toSelf }) => {
      const username = localOf(stanza.attrs.to ?? origin.fullJid ?? '')
      if (username === undefined) return undefined
      if (!toSelf && !(await maySee(rosters, username, stanza.attrs.from!))) {
        // Of an account that there is not, too.
        origin.send(errorReply(stanza, 'forbidden', 'You are not subscribed to this presence'))
        return true
      }
      for (const resource of host.resourcesOf(username)) {
        if (resource.available && !resource.destroyed) return answer(origin, stanza, 0, '')
      }
      const last = await lastOf(username)
      if (last !== undefined) return answer(origin, stanza, Math.max(0, now() - last.when), last.status)
      origin.send(errorReply(stanza, 'item-not-found', 'Nothing is known of the last activity'))
      return true
    })
  },
})

async function maySee(rosters: Rosters, username: string, asker: string): Promise<boolean> {
  const { item } = (await rosters.read(username)).contact(bareOf(asker))
  return item?.subscription === 'from' || item?.subscription === 'both'
}

function answer(origin: Origin, stanza: Stanza, seconds: number, status: string): true {
  origin.send(reply(stanza, xml('query', { xmlns: NS_LAST, seconds: String(seconds) }, status)))
  return true
}

function statusOf(stanza: Stanza): string {
  if (!stanza.inner.includes('status')) return ''
  return (stanza.clone().getChildText('status', NS_CLIENT) ?? '').slice(0, LONGEST_STATUS)
}

function now(): number {
  return Math.floor(Date.now() / 1000)
}
