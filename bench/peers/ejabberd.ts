// ejabberd as a peer, with its own database (Mnesia) and no module beyond what the bench asks for.
import { ejabberdAvailable, ejabberdVersion, startEjabberd } from '../../test/shared/peers/ejabberd.ts'
import { COMPONENT, HOST, SECRET } from '../load/stanzas.ts'
import type { BenchPeer } from './peer.ts'

/** Debian's ejabberd with its mod_delegation, which speaks urn:xmpp:delegation:1. */
export const ejabberd: BenchPeer = {
  name: 'ejabberd',
  title: () => `ejabberd ${ejabberdVersion() ?? ''}`.trim(),
  available: async () => ejabberdAvailable(),
  start: (work) =>
    startEjabberd({
      launcher: work.launcher,
      host: HOST,
      component: { jid: COMPONENT, secret: SECRET },
      namespaces: work.namespaces,
      accounts: work.accounts,
      passwords: work.passwords === 'keys' ? 'scram' : 'plain',
      tls: work.tls,
      archive: work.archive === true,
    }),
}
