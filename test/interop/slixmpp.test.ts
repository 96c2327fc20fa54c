// slixmpp, a client and component library of another language: logs in, subscribes, chats, manages namespaces.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest'
import {
  type SlixmppEvent,
  type SlixmppPeer,
  slixmppAvailable,
  startSlixmpp,
} from '../shared/peers/slixmpp.ts'
import { describePeer } from '../shared/require.ts'
import { startServer, type TestServer } from '../shared/server.ts'

const HOST = 'capulet.lit'
const MANAGER = 'archive.capulet.lit'
const NS_ARCHIVE = 'urn:example:archive'
const NS_DIARY = 'urn:example:diary'

describePeer('slixmpp', slixmppAvailable(), () => {
  let server: TestServer
  let folder: string
  let trusted: string
  const running: SlixmppPeer[] = []

  beforeAll(async () => {
    server = await startServer(
      {
        c2s_require_encryption: true,
        virtualHosts: {
          [HOST]: {
            delegations: {
              [NS_ARCHIVE]: { jid: MANAGER },
              [NS_DIARY]: { jid: MANAGER, filtering: ['day', 'mood'] },
            },
          },
        },
        components: { [MANAGER]: { component_secret: 'secret', modules_enabled: ['delegation'] } },
      },
      [`juliet@${HOST}`, `romeo@${HOST}`, `nurse@${HOST}`, `tybalt@${HOST}`],
    )
    folder = mkdtempSync(join(tmpdir(), 'legate-slixmpp-'))
    trusted = join(folder, 'server.crt')
    writeFileSync(trusted, server.server.tlsOf(HOST)!.certificatePem)
  })
  afterEach(async () => {
    await Promise.all(running.splice(0).map((peer) => peer.stop()))
  })
  afterAll(async () => {
    await server?.stop()
    if (folder !== undefined) rmSync(folder, { recursive: true, force: true })
  })

  function start(script: string, options: Record<string, string | number | true>): SlixmppPeer {
    const peer = startSlixmpp(script, options)
    running.push(peer)
    return peer
  }

  function client(user: string, options: Record<string, string | number | true> = {}): SlixmppPeer {
    const jid = `${user}@${HOST}/slixmpp`
    return start('slixmpp_client.py', { jid, password: 'pw', port: server.c2sPort, ca: trusted, ...options })
  }

  async function manager(): Promise<SlixmppPeer> {
    const options = { jid: MANAGER, secret: 'secret', port: server.componentPort }
    const component = start('slixmpp_component.py', options)
    await component.next('online')
    return component
  }

  it('logs in over STARTTLS, checking the certificate', async () => {
    const online = await client('juliet').next('online')
    expect(online).toMatchObject({ jid: `juliet@${HOST}/slixmpp`, tls: 'TLSv1.3' })
  })

  it('finds its way past channel binding: it knows tls-unique only, which TLS 1.3 does not have', async () => {
    // slixmpp 1.8 tries each -PLUS with tls-unique, and SCRAM then with "y", which must fail where -PLUS was
    // offered (RFC 5802 §6). PLAIN is left, inside TLS. It must come before the server has had enough.
    const online = await client('juliet').next('online')
    expect(online).toMatchObject({
      mechanism: 'PLAIN',
      failures: [
        ['SCRAM-SHA-256-PLUS', 'malformed-request'],
        ['SCRAM-SHA-1-PLUS', 'malformed-request'],
        ['SCRAM-SHA-256', 'not-authorized'],
        ['SCRAM-SHA-1', 'not-authorized'],
      ],
    })
  })

  it('logs in with SCRAM-SHA-256 at the first attempt where channel binding is off', async () => {
    const options = { tls_channel_binding: false, c2s_require_encryption: true, virtualHosts: { [HOST]: {} } }
    const other = await startServer(options, [`juliet@${HOST}`])
    try {
      const ca = join(folder, 'other.crt')
      writeFileSync(ca, other.server.tlsOf(HOST)!.certificatePem)
      const online = await client('juliet', { port: other.c2sPort, ca }).next('online')
      expect(online).toMatchObject({ mechanism: 'SCRAM-SHA-256', tls: 'TLSv1.3', failures: [] })
    } finally {
      await other.stop()
    }
  })

  it('does not log in with a wrong password', async () => {
    const juliet = client('juliet', { password: 'wrong' })
    const { failures } = await juliet.next('failed_auth')
    expect(failures).toContainEqual(['PLAIN', 'not-authorized'])
    expect(juliet.told.map(({ event }) => event)).not.toContain('online')
  })

  it('refuses a certificate that it does not trust', async () => {
    const options = { jid: `juliet@${HOST}`, password: 'pw', port: server.c2sPort }
    const { reason } = await start('slixmpp_client.py', options).next('untrusted')
    expect(reason).toContain('CERTIFICATE_VERIFY_FAILED')
  })

  it('subscribes to presence both ways, and sees it in the roster', async () => {
    const juliet = client('juliet')
    const romeo = client('romeo')
    await Promise.all([juliet.next('online'), romeo.next('online')])
    for (const peer of [juliet, romeo]) {
      peer.do('roster')
      const roster = await peer.next('roster', ({ type }) => type === 'result')
      expect(roster['items']).toEqual({})
      peer.do('presence')
    }
    const from = (user: string, type: string) => (event: SlixmppEvent) =>
      event['type'] === type && String(event['sender']).startsWith(`${user}@`)

    juliet.do('presence', { to: `romeo@${HOST}`, type: 'subscribe' })
    await romeo.next('presence', from('juliet', 'subscribe'))
    romeo.do('presence', { to: `juliet@${HOST}`, type: 'subscribed' })
    await juliet.next('presence', from('romeo', 'subscribed'))
    await juliet.next('presence', from('romeo', 'available'))
    romeo.do('presence', { to: `juliet@${HOST}`, type: 'subscribe' })
    await juliet.next('presence', from('romeo', 'subscribe'))
    juliet.do('presence', { to: `romeo@${HOST}`, type: 'subscribed' })
    await romeo.next('presence', from('juliet', 'available'))

    juliet.do('roster')
    const roster = await juliet.next('roster', ({ type }) => type === 'result')
    expect(roster['items']).toEqual({ [`romeo@${HOST}`]: 'both' })
    await romeo.stop()
    await juliet.next('presence', from('romeo', 'unavailable'))
  })

  it('chats', async () => {
    const nurse = client('nurse')
    const tybalt = client('tybalt')
    await Promise.all([nurse.next('online'), tybalt.next('online')])
    tybalt.do('presence')
    await tybalt.next('presence', ({ type }) => type === 'available')
    const body = 'O "he" & <she>\n\u2665 \u{1f339} \']]>'
    nurse.do('message', { to: `tybalt@${HOST}`, body })
    const message = await tybalt.next('message')
    expect(message).toMatchObject({ sender: `nurse@${HOST}/slixmpp`, type: 'chat', body })
  })

  it('A1: its component parses the advertisement of two namespaces', async () => {
    const told = await (await manager()).next('delegated')
    expect(told).toMatchObject({
      sender: HOST,
      namespaces: { [NS_ARCHIVE]: [], [NS_DIARY]: ['day', 'mood'] },
    })
  })

  it('F2, F4: its component answers its client in both namespaces', async () => {
    const component = await manager()
    const juliet = client('juliet')
    const { jid } = await juliet.next('online')

    juliet.do('ask', { type: 'get', id: 'a1', payload: `<query xmlns='${NS_ARCHIVE}' node='1'/>` })
    const forwarded = await component.next('forwarded')
    expect(forwarded).toMatchObject({ type: 'set', sender: HOST, to: MANAGER })
    // slixmpp names its language in the stream header, which makes it the stanza's (RFC 6120 §8.1.5).
    const lang = { '{http://www.w3.org/XML/1998/namespace}lang': 'en' }
    expect(forwarded['inner']).toEqual({ type: 'get', id: 'a1', from: jid, ...lang })
    const answer = await juliet.next('answer')
    expect(answer).toMatchObject({ id: 'a1', type: 'result', to: jid })
    expect((answer['payload'] as string[])[0]).toContain('O "Romeo" &amp; &lt;Juliet&gt; \u2665')

    const payload = `<entry xmlns='${NS_DIARY}' day='1' mood='good'/>`
    juliet.do('ask', { type: 'set', id: 'd1', to: `romeo@${HOST}`, payload })
    const other = await component.next('forwarded')
    expect(other['inner']).toEqual({ type: 'set', id: 'd1', from: jid, ...lang, to: `romeo@${HOST}` })
    expect(await juliet.next('answer')).toMatchObject({ id: 'd1', type: 'result', sender: `romeo@${HOST}` })
  })

  it('C2: with an attribute of the filter missing, the component is not asked', async () => {
    const component = await manager()
    const juliet = client('juliet')
    await juliet.next('online')
    juliet.do('ask', { type: 'get', id: 'd2', payload: `<entry xmlns='${NS_DIARY}' day='1'/>` })
    expect(await juliet.next('answer')).toMatchObject({ type: 'error', condition: 'service-unavailable' })
    // What is asked next comes first.
    juliet.do('ask', { type: 'get', id: 'a2', payload: `<query xmlns='${NS_ARCHIVE}'/>` })
    expect((await component.next('forwarded'))['inner']).toMatchObject({ id: 'a2' })
  })

  it.each([
    ['F5: a reply with a spoofed from', 'spoof', 'service-unavailable'],
    ['F6: an error of the wrapper', 'wrapper-error', 'service-unavailable'],
    ['F6: an error inside the wrapper', 'inner-error', 'item-not-found'],
  ])('%s reaches the client as it should', async (_, mode, condition) => {
    const component = await manager()
    component.do('mode', { mode })
    await component.next('mode')
    const juliet = client('juliet')
    await juliet.next('online')
    juliet.do('ask', { type: 'get', payload: `<query xmlns='${NS_ARCHIVE}'/>` })
    expect(await juliet.next('answer')).toMatchObject({ type: 'error', condition })
  })

  it('F7: once the component has gone, the client is told at once', async () => {
    const component = await manager()
    const juliet = client('juliet')
    await juliet.next('online')
    await component.stop()
    juliet.do('ask', { type: 'get', payload: `<query xmlns='${NS_ARCHIVE}'/>` })
    expect(await juliet.next('answer')).toMatchObject({ type: 'error', condition: 'service-unavailable' })
  })
})
