/** How long the server has been running (XEP-0012 §6). */

import { definePlugin, NS_LAST, reply, xml } from '../server/index.ts'

export default definePlugin({
  name: 'uptime',
  load(module) {
    module.addFeature(NS_LAST)
    module.hook(`iq-get/host/${NS_LAST}:query`, ({ origin, stanza }) => {
      const seconds = Math.floor(process.uptime())
      origin.send(reply(stanza, xml('query', { xmlns: NS_LAST, seconds: String(seconds) })))
      return true
    })
  },
})
