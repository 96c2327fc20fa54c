// Prosody as a peer, with its plain-text storage and its default network backend (epoll).
import { readFileSync } from 'node:fs'
import { prosodyAvailable, startProsody } from '../../test/shared/peers/prosody.ts'
import { COMPONENT, DELEGATED_NAMESPACE, HOST, SECRET } from '../load/stanzas.ts'
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
      modules: ['delegation'],
      hosts: { [HOST]: { delegations: { [DELEGATED_NAMESPACE]: { jid: COMPONENT } } } },
      components: { [COMPONENT]: { secret: SECRET, options: { modules_enabled: ['delegation'] } } },
    }),
}
