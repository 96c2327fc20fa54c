/** Clients that say whether anybody looks at them (XEP-0352): the protocol. What follows from it is others' to do. */

import { definePlugin, NS_CSI, type StreamSession } from '../server/index.ts'

declare module '../server/event-types.ts' {
  interface EventTypes {
    'csi-client-active': StreamElementEvent
    'csi-client-inactive': StreamElementEvent
  }
}

const FEATURE = `<csi xmlns='${NS_CSI}'/>`

export default definePlugin({
  name: 'csi',
  hostType: 'host',
  load(module) {
    const inactive = module.shared('csi/inactive', () => new WeakSet<StreamSession>())
    module.hook('stream-features', ({ origin, features }) => {
      if (origin.username !== undefined) features.appendWritten(FEATURE, 'csi', NS_CSI)
    })
    module.hook(`stanza/${NS_CSI}:active`, (event) => {
      const { origin } = event
      if (origin.username === undefined) return undefined
      inactive.delete(origin)
      module.fireEvent('csi-client-active', event)
      return true
    })
    module.hook(`stanza/${NS_CSI}:inactive`, (event) => {
      const { origin } = event
      if (origin.username === undefined) return undefined
      inactive.add(origin)
      module.fireEvent('csi-client-inactive', event)
      return true
    })
    // §5.2: a stream begins as active, a resumed one too.
    module.hook('smacks-hibernation-start', ({ session }) => {
      inactive.delete(session)
    })
    module.hook('smacks-hibernation-end', ({ session }) => {
      inactive.delete(session)
    })
  },
})
