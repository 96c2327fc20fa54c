// Prosody as a peer, driven by the bench's own client and component: harness and peer work.
import { expect, it } from 'vitest'
import { type Client, logIn } from '../../bench/load/client.ts'
import { type Component, connectComponent } from '../../bench/load/component.ts'
import { ANSWER_MARK, DELEGATED_NAMESPACE, delegatedRequest } from '../../bench/load/stanzas.ts'
import { prosodyAvailable, startProsody } from '../shared/peers/prosody.ts'
import { describePeer } from '../shared/require.ts'

const HOST = 'capulet.lit'
const COMPONENT = 'pubsub.capulet.lit'

describePeer('Prosody', prosodyAvailable(), () => {
  it('delegates an IQ to a component and delivers its answer', async () => {
    const prosody = await startProsody({
      accounts: [{ user: 'juliet', host: HOST, password: 'O "Romeo"' }],
      modules: ['delegation'],
      hosts: { [HOST]: { delegations: { [DELEGATED_NAMESPACE]: { jid: COMPONENT } } } },
      components: { [COMPONENT]: { secret: 'secret', options: { modules_enabled: ['delegation'] } } },
    })
    let component: Component | undefined
    let juliet: Client | undefined
    try {
      component = await connectComponent(prosody.componentPort, { jid: COMPONENT, secret: 'secret' })
      juliet = await logIn(prosody.c2sPort, {
        host: HOST,
        user: 'juliet',
        password: 'O "Romeo"',
        resource: 'balcony',
      })
      const id = 'items-1'
      juliet.connection.send(delegatedRequest(id))
      const answer = await juliet.connection.stanza((stanza) => stanza.startsWith('<iq'))

      expect(answer).toMatch(/ type=['"]result['"]/)
      expect(answer).toContain(id)
      expect(answer).toContain(ANSWER_MARK)
      expect(answer).not.toContain('urn:xmpp:delegation:2')
      expect(component.answered()).toBe(1)
    } finally {
      juliet?.connection.close()
      component?.connection.close()
      await prosody.stop()
    }
    expect(() => process.kill(prosody.pid, 0)).toThrow('ESRCH')
  })

  it('says why it does not start', async () => {
    const starting = startProsody({ hosts: { [HOST]: {} }, launcher: ['false'] })
    await expect(starting).rejects.toThrow('Prosody did not start: ended with code 1')
  })
})
