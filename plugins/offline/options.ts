/** The options of messages that are kept. */

import { kinds, type Module, option } from '../../server/index.ts'

export const options = {
  offline_max_messages: option({
    schema: kinds.integer(0).default(1000),
    description: 'Messages that are kept for an account until somebody is there for it. Not of Prosody.',
  }),
}
export type OfflineModule = Module<typeof options>
