// The example service and a client of @xmpp/client on a Prosody: what was written for Legate works there too.

import { client, xml } from '@xmpp/client'
import { expect, it } from 'vitest'
import { createNotesService, NS_NOTES } from '../../examples/notes-service.ts'
import { prosodyAvailable, startProsody } from '../shared/peers/prosody.ts'
import { describePeer } from '../shared/require.ts'

const HOST = 'capulet.lit'
const MANAGER = 'notes.capulet.lit'

describePeer('Prosody', prosodyAvailable(), () => {
  it('has notes kept by the service of examples/', async () => {
    const prosody = await startProsody({
      accounts: [{ user: 'juliet', host: HOST, password: 'pw' }],
      modules: ['delegation'],
      hosts: { [HOST]: { delegations: { [NS_NOTES]: { jid: MANAGER } } } },
      components: { [MANAGER]: { secret: 'secret', options: { modules_enabled: ['delegation'] } } },
    })
    const service = `xmpp://127.0.0.1:${prosody.componentPort}`
    const { entity, manager } = createNotesService({ service, domain: MANAGER, password: 'secret' }, [HOST])
    const juliet = client({
      service: `xmpp://127.0.0.1:${prosody.c2sPort}`,
      domain: HOST,
      username: 'juliet',
      password: 'pw',
    })
    // A failure shows in what start() throws.
    entity.on('error', () => {})
    juliet.on('error', () => {})
    entity.reconnect.stop()
    juliet.reconnect.stop()
    try {
      await entity.start()
      await manager.granted(NS_NOTES, HOST)
      await juliet.start()
      const kept = await juliet.iqCaller.set(xml('note', { xmlns: NS_NOTES }, 'A & B'))
      expect(kept?.attrs.id).toBe('1')
      const notes = await juliet.iqCaller.get(xml('notes', { xmlns: NS_NOTES }), `juliet@${HOST}`)
      expect(notes?.getChildText('note')).toBe('A & B')
    } finally {
      if (juliet.status === 'online') await juliet.stop()
      if (entity.status === 'online') await entity.stop()
      await prosody.stop()
    }
  })
})
