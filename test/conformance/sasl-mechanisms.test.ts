/** SASL's mechanisms from end to end (RFC 6120 §6, RFC 5802, RFC 7677, RFC 5929, RFC 9266). */

import { createHash } from 'node:crypto'
import type { TLSSocket } from 'node:tls'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { deriveKeys } from '../../server/auth/scram.ts'
import { startServer, type TestServer } from '../shared/server.ts'
import {
  bindIq,
  conditionOf,
  mechanismsIn,
  NS_SASL,
  opened,
  plain,
  scram,
  secured,
  troubles,
} from '../shared/streams.ts'

let server: TestServer

beforeAll(async () => {
  server = await startServer({ virtualHosts: { 'capulet.lit': {} }, c2s_require_encryption: true }, [
    'juliet@capulet.lit',
  ])
})

afterAll(async () => {
  expect(troubles(server)).toEqual([])
  await server.stop()
})

const exporterOf = (tls: TLSSocket) =>
  tls.exportKeyingMaterial(32, 'EXPORTER-Channel-Binding', Buffer.alloc(0))
// The certificate's own signature is ECDSA with SHA-256.
const endPointOf = (tls: TLSSocket) => createHash('sha256').update(tls.getPeerCertificate().raw).digest()

describe('what is offered', () => {
  it('over TLS 1.3: -PLUS first, with both bindings (XEP-0440)', async () => {
    const { stream, features } = await secured(server.c2sPort)
    expect(mechanismsIn(features)).toEqual([
      'SCRAM-SHA-256-PLUS',
      'SCRAM-SHA-256',
      'SCRAM-SHA-1-PLUS',
      'SCRAM-SHA-1',
      'PLAIN',
    ])
    const types = features
      .getChild('sasl-channel-binding', 'urn:xmpp:sasl-cb:0')!
      .getChildren('channel-binding')
    expect(types.map((type) => type.attrs.type)).toEqual(['tls-exporter', 'tls-server-end-point'])
    await stream.close()
  })

  it('RFC 9266 §4.2: over TLS 1.2 without tls-exporter', async () => {
    const { stream, features } = await secured(server.c2sPort, { maxVersion: 'TLSv1.2' })
    const types = features
      .getChild('sasl-channel-binding', 'urn:xmpp:sasl-cb:0')!
      .getChildren('channel-binding')
    expect(types.map((type) => type.attrs.type)).toEqual(['tls-server-end-point'])
    await stream.close()
  })

  it('in the clear: neither -PLUS nor PLAIN', async () => {
    const lax = await startServer({
      virtualHosts: { 'capulet.lit': {} },
      allow_unencrypted_plain_auth: false,
    })
    const stream = await opened(lax.c2sPort)
    await stream.close()
    const offered = [...stream.text.matchAll(/<mechanism>([^<]+)</g)].map(([, name]) => name)
    expect(offered).toEqual(['SCRAM-SHA-256', 'SCRAM-SHA-1'])
    await lax.stop()
  })

  it('disable_sasl_mechanisms takes out what it names', async () => {
    const some = await startServer(
      {
        virtualHosts: { 'capulet.lit': {} },
        disable_sasl_mechanisms: ['SCRAM-SHA-256-PLUS', 'SCRAM-SHA-1-PLUS', 'PLAIN'],
      },
      ['juliet@capulet.lit'],
    )
    const { stream, features } = await secured(some.c2sPort)
    expect(mechanismsIn(features)).toEqual(['SCRAM-SHA-256', 'SCRAM-SHA-1'])
    expect(features.getChild('sasl-channel-binding', 'urn:xmpp:sasl-cb:0')).toBeUndefined()
    stream.send(plain('juliet'))
    expect(conditionOf(await stream.next())).toBe('invalid-mechanism')
    // RFC 5802 §6: nothing was taken from the offer, so `y` tells the truth.
    expect((await scram(stream, 'SCRAM-SHA-256', 'juliet', { gs2: 'y,,' })).getName()).toBe('success')
    await stream.destroy()
    await some.stop()
  })
})

describe('accounts with keys of the one hash only beside accounts with keys of the other only', () => {
  const hashes = { alice: 'SHA-1', bob: 'SHA-256' } as const

  async function started(disabled: string[]): Promise<TestServer> {
    const mixed = await startServer({
      virtualHosts: { 'capulet.lit': {} },
      disable_sasl_mechanisms: disabled,
    })
    const users = mixed.server.hosts.get('capulet.lit')!.users!
    for (const [user, hash] of Object.entries(hashes)) {
      await users.take(user, {
        [`SCRAM-${hash}`]: await deriveKeys(hash, 'pw', 4096),
        created: 1,
        updated: 1,
      })
    }
    await users.lookForMissing()
    return mixed
  }

  it('over TLS PLAIN is for all of them, and makes the keys that they lack', async () => {
    const mixed = await started([])
    for (const user of ['bob', 'alice']) {
      const { stream, features } = await secured(mixed.c2sPort)
      // Who has logged in has all keys: the second to do so is among accounts that lack SHA-256 only.
      expect(mechanismsIn(features).filter((name) => !name.endsWith('-PLUS'))).toEqual(
        user === 'bob' ? ['PLAIN'] : ['SCRAM-SHA-1', 'PLAIN'],
      )
      stream.send(plain(user))
      expect((await stream.next()).getName()).toBe('success')
      await stream.destroy()
    }
    for (const user of Object.keys(hashes)) {
      for (const mechanism of ['SCRAM-SHA-256', 'SCRAM-SHA-1']) {
        const { stream, features } = await secured(mixed.c2sPort)
        expect(mechanismsIn(features)).toContain(mechanism)
        expect((await scram(stream, mechanism, user)).getName()).toBe('success')
        await stream.destroy()
      }
    }
    await mixed.stop()
  })

  it('without TLS no password is asked for because of that, and without PLAIN something is left', async () => {
    const mixed = await started([])
    const stream = await opened(mixed.c2sPort)
    const offered = [...stream.text.matchAll(/<mechanism>([^<]+)</g)].map(([, name]) => name)
    expect(offered).toEqual(['SCRAM-SHA-1', 'PLAIN'])
    await stream.close()
    await mixed.stop()
    const strict = await started(['PLAIN'])
    const { stream: over, features } = await secured(strict.c2sPort)
    expect(mechanismsIn(features)).toEqual(['SCRAM-SHA-1-PLUS', 'SCRAM-SHA-1'])
    await over.destroy()
    await strict.stop()
  })
})

describe('each mechanism logs in', () => {
  const bindings: [
    string,
    string,
    'TLSv1.2' | 'TLSv1.3',
    ((tls: TLSSocket) => Buffer) | undefined,
    string,
  ][] = [
    ['SCRAM-SHA-1', 'none', 'TLSv1.3', undefined, 'n,,'],
    ['SCRAM-SHA-256', 'none', 'TLSv1.3', undefined, 'n,,'],
    ['SCRAM-SHA-256', 'an authzid', 'TLSv1.3', undefined, 'n,a=juliet@capulet.lit,'],
    ['SCRAM-SHA-1-PLUS', 'tls-exporter', 'TLSv1.3', exporterOf, 'p=tls-exporter,,'],
    ['SCRAM-SHA-256-PLUS', 'tls-exporter', 'TLSv1.3', exporterOf, 'p=tls-exporter,,'],
    ['SCRAM-SHA-1-PLUS', 'tls-server-end-point', 'TLSv1.3', endPointOf, 'p=tls-server-end-point,,'],
    ['SCRAM-SHA-256-PLUS', 'tls-server-end-point', 'TLSv1.3', endPointOf, 'p=tls-server-end-point,,'],
    ['SCRAM-SHA-256-PLUS', 'tls-server-end-point', 'TLSv1.2', endPointOf, 'p=tls-server-end-point,,'],
  ]
  it.each(bindings)('%s, binding %s, %s', async (mechanism, _type, maxVersion, binding, gs2) => {
    const { stream, tls } = await secured(server.c2sPort, { maxVersion })
    const outcome = await scram(stream, mechanism, 'juliet', {
      gs2,
      binding: binding?.(tls) ?? Buffer.alloc(0),
    })
    expect(outcome.getName()).toBe('success')
    stream.restart()
    await stream.open("to='capulet.lit' version='1.0'")
    await stream.named('features')
    const bound = await stream.ask(bindIq('balcony'))
    expect(bound.getChild('bind')!.getChildText('jid')).toBe('juliet@capulet.lit/balcony')
    await stream.close()
  })

  it('PLAIN, and after an empty challenge (RFC 4422 §5)', async () => {
    const { stream } = await secured(server.c2sPort)
    stream.send(`<auth xmlns='${NS_SASL}' mechanism='PLAIN'/>`)
    const challenge = await stream.next()
    expect([challenge.getName(), challenge.text()]).toEqual(['challenge', ''])
    stream.send(`<response xmlns='${NS_SASL}'>${Buffer.from('\0juliet\0pw').toString('base64')}</response>`)
    expect((await stream.next()).getName()).toBe('success')
    await stream.destroy()
  })
})

describe('somebody in between', () => {
  it.each([
    ['other exported keys', 'p=tls-exporter,,', Buffer.alloc(32, 1)],
    ['another certificate', 'p=tls-server-end-point,,', Buffer.alloc(32, 1)],
    ['no data', 'p=tls-exporter,,', Buffer.alloc(0)],
  ])('is found out: %s', async (_name, gs2, binding) => {
    const { stream } = await secured(server.c2sPort)
    const outcome = await scram(stream, 'SCRAM-SHA-256-PLUS', 'juliet', { gs2, binding })
    expect(conditionOf(outcome)).toBe('not-authorized')
    await stream.close()
  })

  it('RFC 5802 §6: who took -PLUS from the offer is found out', async () => {
    const { stream } = await secured(server.c2sPort)
    const outcome = await scram(stream, 'SCRAM-SHA-256', 'juliet', { gs2: 'y,,' })
    expect(conditionOf(outcome)).toBe('not-authorized')
    await stream.close()
  })

  it.each([
    ['a binding without -PLUS', 'SCRAM-SHA-256', 'p=tls-exporter,,'],
    ['-PLUS without a binding', 'SCRAM-SHA-256-PLUS', 'n,,'],
    ['a binding that there is not', 'SCRAM-SHA-256-PLUS', 'p=tls-unique,,'],
  ])('%s is malformed', async (_name, mechanism, gs2) => {
    const { stream } = await secured(server.c2sPort)
    expect(conditionOf(await scram(stream, mechanism, 'juliet', { gs2 }))).toBe('malformed-request')
    await stream.close()
  })

  it('RFC 9266 §4.2: tls-exporter over TLS 1.2 is refused', async () => {
    const { stream, tls } = await secured(server.c2sPort, { maxVersion: 'TLSv1.2' })
    const outcome = await scram(stream, 'SCRAM-SHA-256-PLUS', 'juliet', {
      gs2: 'p=tls-exporter,,',
      binding: exporterOf(tls),
    })
    expect(conditionOf(outcome)).toBe('malformed-request')
    await stream.close()
  })
})

describe('a wrong password, and an unknown user', () => {
  it.each(['SCRAM-SHA-1', 'SCRAM-SHA-256'])('%s: can not be told apart', async (mechanism) => {
    const { stream } = await secured(server.c2sPort)
    const wrong = await scram(stream, mechanism, 'juliet', { password: 'no' })
    const unknown = await scram(stream, mechanism, 'tybalt', { password: 'no' })
    expect(conditionOf(wrong)).toBe('not-authorized')
    expect(unknown.toString()).toBe(wrong.toString())
    await stream.close()
  })

  it('SCRAM: an unknown user has the same salt each time, and as many iterations', async () => {
    const firsts: string[] = []
    for (const user of ['tybalt', 'tybalt', 'juliet']) {
      const { stream } = await secured(server.c2sPort)
      stream.send(
        `<auth xmlns='${NS_SASL}' mechanism='SCRAM-SHA-256'>${Buffer.from(`n,,n=${user},r=abc`).toString('base64')}</auth>`,
      )
      const challenge = await stream.named('challenge')
      firsts.push(
        Buffer.from(challenge.text(), 'base64')
          .toString()
          .replace(/^r=[^,]*,/, ''),
      )
      await stream.destroy()
    }
    expect(firsts[0]).toBe(firsts[1])
    expect(firsts[0]!.replace(/^s=[^,]*/, '')).toBe(firsts[2]!.replace(/^s=[^,]*/, ''))
    expect(firsts[0]!.length).toBe(firsts[2]!.length)
  })

  it('PLAIN: can not be told apart', async () => {
    const { stream } = await secured(server.c2sPort)
    const answers: string[] = []
    for (const text of [plain('juliet', 'no'), plain('tybalt', 'no')]) {
      stream.send(text)
      answers.push((await stream.named('failure')).toString())
    }
    expect(answers[0]).toContain('not-authorized')
    expect(answers[1]).toBe(answers[0])
    await stream.close()
  })
})
