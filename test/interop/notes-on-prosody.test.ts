// The example component and a client of @xmpp/client on a Prosody: what was written for Legate works there too.

import { client, xml } from '@xmpp/client'
import { expect, it } from 'vitest'
import { createNotesComponent, NS_NOTES } from '../../examples/notes-component.ts'
import { prosodyAvailable, startProsody } from '../shared/peers/prosody.ts'
import { describePeer } from '../shared/require.ts'

const HOST = 'capulet.lit'
const MANAGER = 'notes.capulet.lit'

describePeer('Prosody', prosodyAvailable(), () => {
  it('has notes kept by the component of examples/', async () => {
    const prosody = await startProsody({
      accounts: [{ user: 'juliet', host: HOST, password: 'pw' }],
      modules: ['delegation'],
      hosts: { [HOST]: { delegations: { [NS_NOTES]: { jid: MANAGER } } } },
      components: { [MANAGER]: { secret: 'secret', options: { modules_enabled: ['delegation'] } } },
    })
    const manager = createNotesComponent({
      service: `xmpp://127.0.0.1:${prosody.componentPort}`,
      domain: MANAGER,
      password: 'secret',
    })
    const juliet = client({
      service: `xmpp://127.0.0.1:${prosody.c2sPort}`,
      domain: HOST,
      username: 'juliet',
      password: 'pw',
    })
    // A failure shows in what start() throws.
    manager.on('error', () => {})
    juliet.on('error', () => {})
    manager.reconnect.stop()
    juliet.reconnect.stop()
    try {
      await manager.start()
      await juliet.start()
      const kept = await juliet.iqCaller.set(xml('note', { xmlns: NS_NOTES }, 'A & B'))
      expect(kept?.attrs.id).toBe('1')
      const notes = await juliet.iqCaller.get(xml('notes', { xmlns: NS_NOTES }), `juliet@${HOST}`)
      expect(notes?.getChildText('note')).toBe('A & B')
    } finally {
      if (juliet.status === 'online') await juliet.stop()
      if (manager.status === 'online') await manager.stop()
      await prosody.stop()
    }
  })
})
