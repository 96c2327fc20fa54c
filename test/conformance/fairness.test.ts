/** Nobody is disturbed by one who takes too much, or reads too little. */

import { afterEach, describe, expect, it, vi } from 'vitest'
import { connectComponent, login, TestStream } from '../shared/client.ts'
import { conditionOf, errorLines, forwardedTo, goodReply } from '../shared/delegation.ts'
import { startServer, type TestServer } from '../shared/server.ts'

const HOST = 'capulet.lit'
const PUBSUB = 'pubsub.capulet.lit'
const NS = 'urn:example:thing'
const USERS = ['juliet@capulet.lit', 'nurse@capulet.lit']
const DELEGATING = {
  virtualHosts: { [HOST]: { delegations: { [NS]: { jid: PUBSUB } } } },
  components: { [PUBSUB]: { component_secret: 'secret', modules_enabled: ['delegation'] } },
}

let server: TestServer

afterEach(async () => {
  vi.useRealTimers()
  await server.stop()
  expect(errorLines(server)).toEqual([])
})

describe('a component', () => {
  it('is not held back by an asker who does not read', async () => {
    server = await startServer(DELEGATING, USERS)
    const component = await connectComponent(server.componentPort, PUBSUB)
    const greedy = await login(server.c2sPort, 'juliet@capulet.lit/greedy')
    const other = await login(server.c2sPort, 'nurse@capulet.lit/other')
    const answered = (async () => {
      const body = `<thing xmlns='${NS}'>${'x'.repeat(20_000)}</thing>`
      for (;;) component.send(goodReply(await forwardedTo(component), body))
    })().catch(() => {})

    greedy.socket.pause()
    for (let i = 0; i < 500; i++) greedy.send(`<iq type='get' id='g${i}'><thing xmlns='${NS}'/></iq>`)
    const session = server.server.fullJids.get(greedy.jid)!
    await expect.poll(() => session.connection.waiting, { timeout: 10_000 }).toBeGreaterThan(1 << 20)
    for (let i = 0; i < 20; i++) {
      const answer = await other.ask(`<iq type='get' id='o${i}'><thing xmlns='${NS}'/></iq>`)
      expect(answer.attrs.type).toBe('result')
    }
    expect(session.connection.waiting).toBeGreaterThan(1 << 20)

    // Nothing is lost for who begins to read.
    greedy.socket.resume()
    expect((await greedy.withId('g499')).attrs.type).toBe('result')
    await Promise.all([greedy.close(), other.close(), component.destroy()])
    await answered
  })
})

describe('delegation', () => {
  it('refuses requests of one asker beyond ten thousand that wait', async () => {
    server = await startServer(DELEGATING, USERS)
    const component = await connectComponent(server.componentPort, PUBSUB)
    const juliet = await login(server.c2sPort, 'juliet@capulet.lit/a')
    const nurse = await login(server.c2sPort, 'nurse@capulet.lit/a')
    let text = ''
    for (let i = 0; i <= 10_000; i++) text += `<iq type='get' id='q${i}'><thing xmlns='${NS}'/></iq>`
    juliet.send(text)
    expect(conditionOf(await juliet.withId('q10000'))).toBe('resource-constraint')
    // Others are served as before.
    nurse.send(`<iq type='get' id='n'><thing xmlns='${NS}'/></iq>`)
    const isHers = (from: unknown) => from === nurse.jid
    for (;;) {
      const request = await forwardedTo(component)
      if (!isHers(request.iq.attrs.from)) continue
      component.send(goodReply(request, ''))
      break
    }
    expect((await nurse.withId('n')).attrs.type).toBe('result')
    // Each of those that waited is answered.
    await component.destroy()
    expect(conditionOf(await juliet.withId('q9999'))).toBe('service-unavailable')
    await juliet.settled()
    expect(juliet.received.filter(({ attrs }) => attrs.type === 'error')).toHaveLength(9999)
    juliet.send(`<iq type='get' id='again'><thing xmlns='${NS}'/></iq>`)
    expect(conditionOf(await juliet.withId('again'))).toBe('service-unavailable')
    await Promise.all([juliet.close(), nurse.close()])
  })
})

describe('limits', () => {
  const LIMITED = {
    modules_enabled: ['saslauth', 'ping', 'limits'],
    limits: { c2s: { rate: '10kb/s', burst: '1s' } },
    virtualHosts: { [HOST]: {} },
  }

  it('reads later from a client that sends faster', async () => {
    server = await startServer(LIMITED, USERS)
    const hasty = await login(server.c2sPort, 'juliet@capulet.lit/a', { presence: false })
    const other = await login(server.c2sPort, 'nurse@capulet.lit/a', { presence: false })
    // From here on the server's clock for waiting stands still.
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
    server.server.timers.stop()
    hasty.send(`<message to='${HOST}' type='error'><body>${'x'.repeat(30_000)}</body></message>`)
    await server.logged('dropped a stanza that nobody handles')
    hasty.send(`<iq type='get' id='late' to='${HOST}'><ping xmlns='urn:xmpp:ping'/></iq>`)
    for (let i = 0; i < 5; i++) await other.settled()
    expect(hasty.received.filter(({ attrs }) => attrs.id === 'late')).toEqual([])
    vi.advanceTimersByTime(5000)
    expect((await hasty.withId('late')).attrs.type).toBe('result')
    await Promise.all([hasty.destroy(), other.destroy()])
  })
})

describe('RFC 6120 §8.1.5: the language of the stream', () => {
  it('is that of stanzas without one', async () => {
    server = await startServer({ virtualHosts: { [HOST]: {} } }, USERS)
    const juliet = await login(server.c2sPort, 'juliet@capulet.lit/a', { header: "xml:lang='it'" })
    const nurse = await login(server.c2sPort, 'nurse@capulet.lit/a')
    juliet.send(`<message to='${nurse.jid}' id='m1'><body>Ciao</body></message>`)
    juliet.send(`<message to='${nurse.jid}' id='m2' xml:lang='en'><body>Hello</body></message>`)
    expect((await nurse.withId('m1')).attrs['xml:lang']).toBe('it')
    expect((await nurse.withId('m2')).attrs['xml:lang']).toBe('en')
    nurse.send(`<message to='${juliet.jid}' id='m3'><body>?</body></message>`)
    expect((await juliet.withId('m3')).attrs).not.toHaveProperty('xml:lang')
    await Promise.all([juliet.close(), nurse.close()])
  })
})

describe('SASL', () => {
  it('lets a client find its mechanism by trial, and not its password', async () => {
    server = await startServer({ virtualHosts: { [HOST]: {} } }, USERS)
    const stream = await TestStream.connect(server.c2sPort)
    await stream.open(`to='${HOST}' version='1.0'`)
    await stream.named('features')
    const attempt = async (mechanism: string, message: string) => {
      const initial = Buffer.from(message).toString('base64')
      stream.send(`<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='${mechanism}'>${initial}</auth>`)
      return stream.next()
    }
    for (let i = 0; i < 6; i++) expect((await attempt('X-NONE', '')).getName()).toBe('failure')
    expect((await attempt('PLAIN', '\0juliet\0pw')).getName()).toBe('success')
    await stream.destroy()
  })
})
