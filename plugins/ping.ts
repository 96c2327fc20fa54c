/** XMPP ping (XEP-0199): the host answers, for itself and for any of its accounts. */

import { definePlugin, NS_PING, reply, type StanzaEvent } from '../server/index.ts'

export default definePlugin({
  name: 'ping',
  load(module) {
    module.addFeature(NS_PING)
    const answer = ({ origin, stanza }: StanzaEvent) => {
      origin.send(reply(stanza))
      return true
    }
    // For a bare JID too, whether or not there is such an account: that stays hidden.
    module.hook(`iq-get/bare/${NS_PING}:ping`, answer)
    module.hook(`iq-get/host/${NS_PING}:ping`, answer)
  },
})
