/** Spares clients that nobody looks at what can wait (XEP-0352): presence, chat states and the like. */

import { definePlugin, kinds, option, type StreamSession, type Timeout } from '../../server/index.ts'
import { HeldBack, type Holding } from './held.ts'
import { isImportant } from './important.ts'

declare module '../../server/event-types.ts' {
  interface EventTypes {
    /** Something is to be sent to an inactive client. A handler that returns true or false says whether at once. */
    'csi-is-stanza-important': { readonly session: StreamSession; readonly text: string }
    /** What was held back for an inactive client has been sent. */
    'csi-flushing': { readonly session: StreamSession }
  }
}

const options = {
  csi_queue_size: option({
    schema: kinds.integer(1).default(256),
    description: 'Stanzas that are held back for an inactive client.',
  }),
  csi_important_payloads: option({
    schema: kinds.list(kinds.text(), 'payloads').default([]),
    description: 'What makes a message important for an inactive client, as `{NAMESPACE}NAME`.',
  }),
  csi_resume_inactive_delay: option({
    schema: kinds.period(0).default(5),
    description: 'How long nothing is held back after something important.',
  }),
}

export default definePlugin({
  name: 'csi_simple',
  hostType: 'host',
  depends: ['csi'],
  options,
  load(module) {
    const { options, server } = module
    const inactive = new Map<StreamSession, { held: HeldBack; timer: Timeout | undefined }>()
    const holding: Holding = {
      get most() {
        return options.csi_queue_size
      },
      isImportant(session, text) {
        const said = module.fireEvent('csi-is-stanza-important', { session, text })
        return typeof said === 'boolean' ? said : isImportant(text, options.csi_important_payloads)
      },
      flushing(session) {
        module.fireEvent('csi-flushing', { session })
        const state = inactive.get(session)
        if (state === undefined) return
        state.timer?.cancel()
        state.timer = server.timers.after(options.csi_resume_inactive_delay, shut, state.held)
      },
    }
    const becomesActive = (session: StreamSession): void => {
      const state = inactive.get(session)
      if (state === undefined) return
      inactive.delete(session)
      state.timer?.cancel()
      session.removeOutlet(state.held)
      state.held.flush()
    }

    module.hook('csi-client-inactive', ({ origin }) => {
      const state = inactive.get(origin)
      if (state !== undefined) {
        state.timer?.cancel()
        state.held.shut()
        return
      }
      const held = new HeldBack(origin, holding)
      inactive.set(origin, { held, timer: undefined })
      origin.addOutlet(held)
    })
    // Before acknowledgements are asked for.
    module.hook('csi-client-active', ({ origin }) => becomesActive(origin), 10)
    // A resumed stream begins as active; what was held back comes behind what is sent again.
    module.hook('smacks-hibernation-start', ({ session }) => becomesActive(session))
    module.hook('smacks-hibernation-end', ({ session }) => becomesActive(session))
    module.hook('c2s-closed', ({ session }) => {
      inactive.get(session)?.timer?.cancel()
      inactive.delete(session)
    })
    module.onUnload(() => {
      for (const session of [...inactive.keys()]) becomesActive(session)
    })
  },
})

function shut(held: HeldBack): void {
  held.shut()
}
