/** Private XML storage (XEP-0049): what an account's clients keep for themselves, by element and namespace. */

import {
  definePlugin,
  detached,
  type Element,
  errorReply,
  kinds,
  NS_PRIVATE,
  option,
  reply,
  Stanza,
  type StanzaEvent,
  type StreamSession,
  standaloneText,
  writeElement,
} from '../server/index.ts'

const options = {
  private_max_elements: option({
    schema: kinds.integer(1).default(1000),
    description: 'Elements that an account may keep in private storage. Not of Prosody.',
  }),
}

/** Characters of all that an account keeps: it is read as a whole at each change. */
const MOST_LENGTH = 1 << 20

export default definePlugin({
  name: 'private',
  hostType: 'host',
  options,
  load(module) {
    /** `NAME:NAMESPACE`, as in Prosody's store of the same name, to the element as text. */
    const store = module.openStore<string>('private', 'map')
    module.addFeature(NS_PRIVATE)

    module.hook(`iq-get/self/${NS_PRIVATE}:query`, async ({ origin, stanza }) => {
      const [asked, ...others] = elementsOf(stanza)
      // XEP-0049 §2.2: one at a time.
      if (asked === undefined || others.length > 0) return refuse({ origin, stanza })
      const stored = await store.get((origin as StreamSession).username!, keyOf(asked))
      const text = stored ?? writeElement(asked.getName(), { xmlns: asked.getNS() ?? '' }, '')
      const query = writeElement('query', { xmlns: NS_PRIVATE }, text)
      origin.send(Stanza.fromText('iq', reply(stanza).attrs, query, 1, 'query', NS_PRIVATE))
      return true
    })

    module.hook(`iq-set/self/${NS_PRIVATE}:query`, async ({ origin, stanza }) => {
      const elements = elementsOf(stanza)
      if (elements.length === 0) return refuse({ origin, stanza })
      const username = (origin as StreamSession).username!
      const changes: Record<string, string | undefined> = Object.create(null)
      for (const element of elements) {
        // As in Prosody, one with nothing in it is nothing to keep.
        changes[keyOf(element)] =
          element.children.length === 0 ? undefined : detached(standaloneText(element))
      }
      const kept = await store.getAll(username)
      const before = lengthOf(kept)
      for (const key in changes) {
        const text = changes[key]
        if (text === undefined) kept.delete(key)
        else kept.set(key, text)
      }
      const length = lengthOf(kept)
      if (length > MOST_LENGTH && length > before) {
        origin.send(errorReply(stanza, 'resource-constraint', 'There is no room for so much'))
        return true
      }
      if (kept.size > module.options.private_max_elements) {
        const text = `Not more than ${module.options.private_max_elements} elements are kept`
        origin.send(errorReply(stanza, 'resource-constraint', text))
        return true
      }
      await store.setKeys(username, changes)
      origin.send(reply(stanza))
      return true
    })
  },
})

/** The elements of a query, each of which has to be of a namespace of its own (XEP-0049 §2.1). */
function elementsOf(stanza: Stanza): Element[] {
  const elements = stanza.payload?.getChildElements() ?? []
  return elements.every((element) => ![undefined, '', NS_PRIVATE].includes(element.getNS())) ? elements : []
}

function lengthOf(kept: ReadonlyMap<string, string>): number {
  let length = 0
  for (const [key, text] of kept) length += key.length + text.length
  return length
}

function keyOf(element: Element): string {
  return `${element.getName()}:${element.getNS()}`
}

function refuse({ origin, stanza }: Pick<StanzaEvent, 'origin' | 'stanza'>): true {
  origin.send(
    errorReply(stanza, 'bad-request', 'The query needs an element of a namespace of its own', 'modify'),
  )
  return true
}
