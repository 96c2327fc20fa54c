/** Entity time (XEP-0202): the host's clock, in UTC. */

import { definePlugin, NS_TIME, reply, type StanzaEvent, xml } from '../server/index.ts'

export default definePlugin({
  name: 'time',
  load(module) {
    module.addFeature(NS_TIME)
    const answer = ({ origin, stanza }: StanzaEvent) => {
      // XEP-0082 §3.2; the offset of the machine's own time zone is nobody's business.
      const utc = new Date().toISOString().replace(/\.\d+/, '')
      origin.send(
        reply(stanza, xml('time', { xmlns: NS_TIME }, xml('tzo', {}, '+00:00'), xml('utc', {}, utc))),
      )
      return true
    }
    module.hook(`iq-get/bare/${NS_TIME}:time`, answer)
    module.hook(`iq-get/host/${NS_TIME}:time`, answer)
  },
})
