/** Business cards (XEP-0054, vcard-temp): an account's own to change, and everybody's to read. */

import {
  definePlugin,
  detached,
  errorReply,
  localOf,
  NS_VCARD,
  reply,
  Stanza,
  type StreamSession,
  standaloneText,
} from '../server/index.ts'

export default definePlugin({
  name: 'vcard',
  hostType: 'host',
  load(module) {
    /** The element as text. */
    const store = module.openStore<string>('vcard')
    module.addFeature(NS_VCARD)

    module.hook(`iq-get/bare/${NS_VCARD}:vCard`, async ({ origin, stanza }) => {
      const username = localOf(stanza.attrs.to ?? origin.fullJid ?? '')
      const card = username === undefined ? undefined : await store.get(username)
      // One that there is not, and one of an account that there is not, look the same (§3.4).
      if (card === undefined) origin.send(errorReply(stanza, 'item-not-found', 'There is no vCard'))
      else origin.send(Stanza.fromText('iq', reply(stanza).attrs, card, 1, 'vCard', NS_VCARD))
      return true
    })

    module.hook(`iq-set/bare/${NS_VCARD}:vCard`, async ({ origin, stanza, toSelf }) => {
      if (!toSelf) {
        origin.send(errorReply(stanza, 'forbidden', 'Only their owners change vCards'))
        return true
      }
      const card = stanza.payload!
      const text = card.children.length === 0 ? undefined : detached(standaloneText(card))
      await store.set((origin as StreamSession).username!, text)
      origin.send(reply(stanza))
      return true
    })
  },
})
