/** Keeps connections to the rates of the option `limits`: who sends faster is read from later. */

import { coreOptions, definePlugin } from '../server/index.ts'

export default definePlugin({
  name: 'limits',
  options: { limits: coreOptions.limits },
  shared(module) {
    module.hook('session-opened', ({ session }) => {
      const limit = module.options.limits?.[session.profile.name]
      if (limit !== undefined) session.connection.limitRate(limit.rate, limit.burst)
    })
  },
})
