/** The options of stream management. */

import { kinds, type Module, option } from '../../server/index.ts'

export const options = {
  smacks_hibernation_time: option({
    schema: kinds.period(1).default(600),
    description: 'How long a session waits for its client when the connection is lost.',
  }),
  smacks_max_queue_size: option({
    schema: kinds.integer(1).default(500),
    description: 'Stanzas that are kept for a session until its client has acknowledged them.',
  }),
  smacks_max_unacked_stanzas: option({
    schema: kinds.integer(0).default(0),
    description: 'Stanzas that may be unacknowledged before a client is asked to acknowledge them.',
  }),
  smacks_max_inactive_unacked_stanzas: option({
    schema: kinds.integer(0).default(256),
    description: '`smacks_max_unacked_stanzas` for clients that are inactive (XEP-0352).',
  }),
  smacks_max_ack_delay: option({
    schema: kinds.period(1).default(30),
    description: 'How long a client may take to acknowledge.',
  }),
  smacks_max_old_sessions: option({
    schema: kinds.integer(0).default(10),
    description: 'Ended sessions of an account of which it is kept how much they had handled.',
  }),
  smacks_max_hibernated_sessions: option({
    schema: kinds.integer(0).default(10),
    description: 'Sessions of an account that may wait for their clients at once. Not of Prosody.',
  }),
}

export type SmacksModule = Module<typeof options>
