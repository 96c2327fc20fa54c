// Prosody as a peer, with its default network backend (epoll) and passwords in the form that is cheaper for the
// scenario: the other one would be its cost of deriving keys, and not of logging in.
import { readFileSync } from 'node:fs'
import { prosodyAvailable, startProsody } from '../../test/shared/peers/prosody.ts'
import { COMPONENT, HOST, SECRET } from '../load/stanzas.ts'
import type { BenchPeer } from './peer.ts'

const VERSION_FILE = '/usr/lib/prosody/prosody.version'

/** Debian's Prosody with mod_delegation of prosody-modules. */
export const prosody: BenchPeer = {
  name: 'prosody',
  title() {
    try {
      return `Prosody ${readFileSync(VERSION_FILE, 'utf8').trim()}`
    } catch {
      return 'Prosody'
    }
  },
  available: async () => prosodyAvailable(),
  start: (work) =>
    startProsody({
      launcher: work.launcher,
      accounts: work.accounts,
      passwords: work.passwords === 'keys' ? 'scram' : 'plain',
      tls: work.tls,
      modules: work.archive === true ? ['delegation', 'mam'] : ['delegation'],
      hosts: {
        [HOST]: {
          delegations: Object.fromEntries(work.namespaces.map((name) => [name, { jid: COMPONENT }])),
        },
      },
      components: { [COMPONENT]: { secret: SECRET, options: { modules_enabled: ['delegation'] } } },
    }),
}
