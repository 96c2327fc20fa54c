/** Messages for accounts that nobody is there for, until somebody is (XEP-0160, XEP-0203). */

import { definePlugin, type StreamSession } from '../../server/index.ts'
import { Mailbox } from './mailbox.ts'
import { options } from './options.ts'

/** Loaded unless `modules_disabled` names it: it reads and opens nothing until somebody comes or is missed. */
export default definePlugin({
  name: 'offline',
  hostType: 'host',
  options,
  load(module) {
    const mailbox = new Mailbox(module)
    module.addFeature('msgoffline')
    module.hook('message/offline/handle', (event) => mailbox.take(event), -1)
    module.hook('message/offline/broadcast', ({ origin }) => {
      const session = origin as StreamSession
      session.hold(mailbox.handOver(session))
    })
    module.hook('delivery/waiting', (event) => mailbox.spares.keep(event))
    module.onUnload(mailbox.listen())
  },
})
