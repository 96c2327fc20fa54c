/** SASL: vectors, whole exchanges with a client written here, and everything that a client may do wrong. */

import { createHash, createHmac, pbkdf2Sync, randomBytes } from 'node:crypto'
import { beforeAll, describe, expect, it } from 'vitest'
import {
  availableMechanisms,
  type ChannelBindings,
  type SaslContext,
  type SaslStep,
  startExchange,
} from '../../server/auth/sasl.ts'
import { type AccountRecord, Users } from '../../server/auth/users.ts'
import { prepareLocal } from '../../server/jid.ts'
import { openStorage } from '../../server/storage/index.ts'

const ITERATIONS = 4096
const EXPORTER = Buffer.from('exporter data of 32 bytes length')
const END_POINT = Buffer.from('hash of the certificate')

const bindings: ChannelBindings = {
  get: (type) => (type === 'tls-exporter' ? EXPORTER : END_POINT),
  types: () => ['tls-exporter', 'tls-server-end-point'],
}

let users: Users
let context: SaslContext

beforeAll(async () => {
  const store = openStorage('memory', { path: '' }).openKeyval<AccountRecord>('capulet.lit', 'accounts')
  users = new Users(store, { iterations: ITERATIONS })
  context = {
    users,
    host: 'capulet.lit',
    channelBindings: undefined,
    prepareUsername: prepareLocal,
  }
  await users.create('juliet', 'r0m30')
  await users.create('a,b=c', 'pass=word,')
  await users.create('ロミオ', '\u{2168}')
})

type Hash = 'SHA-1' | 'SHA-256'
const digestName = { 'SHA-1': 'sha1', 'SHA-256': 'sha256' } as const

interface ClientOptions {
  hash: Hash
  username: string
  password: string
  gs2?: string
  binding?: Buffer
  extensions?: string
  finalExtensions?: string
}

/** The client's side of SCRAM, by RFC 5802 §3 alone. */
class Client {
  readonly options: ClientOptions
  readonly nonce = randomBytes(12).toString('base64')
  readonly bare: string
  #serverSignature = ''

  constructor(options: ClientOptions) {
    this.options = options
    const name = options.username.replaceAll('=', '=3D').replaceAll(',', '=2C')
    this.bare = `n=${name},r=${this.nonce}${options.extensions ?? ''}`
  }

  first(): Buffer {
    return Buffer.from((this.options.gs2 ?? 'n,,') + this.bare)
  }

  final(challenge: Buffer): Buffer {
    const { hash, password, gs2 = 'n,,', binding = Buffer.alloc(0), finalExtensions = '' } = this.options
    const algorithm = digestName[hash]
    const match = /^r=([^,]+),s=([^,]+),i=([0-9]+)$/.exec(challenge.toString())
    expect(match?.[1]?.startsWith(this.nonce)).toBe(true)
    const [, nonce = '', salt = '', iterations = ''] = match ?? []
    const length = hash === 'SHA-1' ? 20 : 32
    const salted = pbkdf2Sync(
      password.normalize('NFKC'),
      Buffer.from(salt, 'base64'),
      Number(iterations),
      length,
      algorithm,
    )
    const hmac = (key: Buffer, text: string) => createHmac(algorithm, key).update(text).digest()
    const clientKey = hmac(salted, 'Client Key')
    const storedKey = createHash(algorithm).update(clientKey).digest()
    const cbind = Buffer.concat([Buffer.from(gs2), binding]).toString('base64')
    const withoutProof = `c=${cbind},r=${nonce}${finalExtensions}`
    const authMessage = `${this.bare},${challenge},${withoutProof}`
    const signature = hmac(storedKey, authMessage)
    const proof = Buffer.from(clientKey.map((byte, i) => byte ^ (signature[i] ?? 0)))
    this.#serverSignature = `v=${hmac(hmac(salted, 'Server Key'), authMessage).toString('base64')}`
    return Buffer.from(`${withoutProof},p=${proof.toString('base64')}`)
  }

  accepts(data: Buffer | undefined): boolean {
    return data?.toString() === this.#serverSignature
  }
}

function begin(mechanism: string, over: Partial<SaslContext> = {}) {
  const exchange = startExchange(mechanism, { ...context, ...over })
  if (exchange === undefined) throw new Error(`no ${mechanism}`)
  return exchange
}

function challenge(step: SaslStep): Buffer {
  if (step.kind !== 'challenge') throw new Error(JSON.stringify(step))
  return step.data
}

async function login(mechanism: string, client: Client, over: Partial<SaslContext> = {}): Promise<SaslStep> {
  const exchange = begin(mechanism, over)
  const first = await exchange.step(client.first())
  return first.kind === 'challenge' ? exchange.step(client.final(first.data)) : first
}

describe('the mechanisms that are offered', () => {
  it('in order of preference, and only where they are allowed', () => {
    expect(availableMechanisms({ channelBindings: true, plainAllowed: true })).toEqual([
      'SCRAM-SHA-256-PLUS',
      'SCRAM-SHA-256',
      'SCRAM-SHA-1-PLUS',
      'SCRAM-SHA-1',
      'PLAIN',
    ])
    expect(availableMechanisms({ channelBindings: false, plainAllowed: false })).toEqual([
      'SCRAM-SHA-256',
      'SCRAM-SHA-1',
    ])
    expect(
      availableMechanisms({ channelBindings: true, plainAllowed: true, disabled: ['SCRAM-SHA-1', 'PLAIN'] }),
    ).toEqual(['SCRAM-SHA-256-PLUS', 'SCRAM-SHA-256', 'SCRAM-SHA-1-PLUS'])
  })

  it('others do not begin, nor -PLUS without bindings', () => {
    for (const name of [
      '',
      'ANONYMOUS',
      'scram-sha-1',
      'SCRAM-SHA-1-PLUS',
      'SCRAM-SHA-256-PLUS',
      'constructor',
    ]) {
      expect(startExchange(name, context)).toBeUndefined()
    }
    const none = { get: () => undefined, types: () => [] }
    expect(startExchange('SCRAM-SHA-1-PLUS', { ...context, channelBindings: none })).toBeUndefined()
    expect(startExchange('SCRAM-SHA-1-PLUS', { ...context, channelBindings: bindings })?.mechanism).toBe(
      'SCRAM-SHA-1-PLUS',
    )
  })
})

describe.each(['SHA-1', 'SHA-256'] as const)('SCRAM-%s', (hash) => {
  const mechanism = `SCRAM-${hash}`
  const juliet = { hash, username: 'juliet', password: 'r0m30' }

  it.each([
    ['juliet', 'r0m30', 'juliet'],
    ['JULIET', 'r0m30', 'juliet'],
    ['ju\u{ad}liet', 'r0m30', 'juliet'],
    ['a,b=c', 'pass=word,', 'a,b=c'],
    ['ロミオ', '\u{2168}', 'ロミオ'],
    ['ロミオ', 'IX', 'ロミオ'],
  ])('logs %s in', async (username, password, expected) => {
    const client = new Client({ hash, username, password })
    const step = await login(mechanism, client)
    expect(step).toMatchObject({ kind: 'success', username: expected })
    expect(step.kind === 'success' && client.accepts(step.data)).toBe(true)
  })

  it.each(['tls-exporter', 'tls-server-end-point'] as const)('binds to the channel with %s', async (type) => {
    const binding = bindings.get(type)
    const options = { ...juliet, gs2: `p=${type},,`, binding }
    const over = { channelBindings: bindings }
    expect(await login(`${mechanism}-PLUS`, new Client(options), over)).toMatchObject({ kind: 'success' })
    const relayed = new Client({ ...options, binding: Buffer.from('of another channel') })
    expect(await login(`${mechanism}-PLUS`, relayed, over)).toMatchObject({ condition: 'not-authorized' })
    const unbound = new Client({ ...options, binding: Buffer.alloc(0) })
    expect(await login(`${mechanism}-PLUS`, unbound, over)).toMatchObject({ condition: 'not-authorized' })
  })

  it('RFC 5802 §6: a client that could bind, but was not offered it, is turned away where we did offer it', async () => {
    const client = () => new Client({ ...juliet, gs2: 'y,,' })
    expect(await login(mechanism, client())).toMatchObject({ kind: 'success' })
    expect(await login(mechanism, client(), { channelBindings: bindings })).toMatchObject({
      condition: 'not-authorized',
    })
    const plain = new Client(juliet)
    expect(await login(mechanism, plain, { channelBindings: bindings })).toMatchObject({ kind: 'success' })
  })

  it.each([
    ['n,,', true, 'malformed-request'],
    ['y,,', true, 'malformed-request'],
    ['p=tls-unique,,', true, 'malformed-request'],
    ['p=__proto__,,', true, 'malformed-request'],
    ['p=tls-exporter,,', false, 'malformed-request'],
  ])('refuses the header %s with -PLUS %s', async (gs2, plus, condition) => {
    const exchange = begin(plus ? `${mechanism}-PLUS` : mechanism, { channelBindings: bindings })
    expect(await exchange.step(new Client({ ...juliet, gs2 }).first())).toMatchObject({
      kind: 'failure',
      condition,
    })
  })

  it('a type of binding that this connection does not have is refused', async () => {
    const only: ChannelBindings = {
      get: (type) => (type === 'tls-exporter' ? undefined : END_POINT),
      types: () => ['tls-server-end-point'],
    }
    const exchange = begin(`${mechanism}-PLUS`, { channelBindings: only })
    const client = new Client({ ...juliet, gs2: 'p=tls-exporter,,' })
    expect(await exchange.step(client.first())).toMatchObject({ kind: 'failure' })
  })

  it('a header that was changed on the way is noticed', async () => {
    const client = new Client({ ...juliet, gs2: 'y,,' })
    const exchange = begin(mechanism)
    const first = await exchange.step(Buffer.from(`n,,${client.bare}`))
    expect(await exchange.step(client.final(challenge(first)))).toMatchObject({ condition: 'not-authorized' })
  })

  it('passes over extensions that are not mandatory', async () => {
    const client = new Client({ ...juliet, extensions: ',x=a=b,d=1', finalExtensions: ',h=abc' })
    expect(await login(mechanism, client)).toMatchObject({ kind: 'success' })
  })

  it.each([
    ['n,a=juliet@capulet.lit,', 'success'],
    ['n,a=JULIET@Capulet.LIT,', 'success'],
    ['n,a=juliet,', 'success'],
    ['n,a=romeo,', 'invalid-authzid'],
    ['n,a=romeo@capulet.lit,', 'invalid-authzid'],
    ['n,a=juliet@montague.lit,', 'invalid-authzid'],
    ['n,a=juliet@capulet.lit/balcony,', 'invalid-authzid'],
    ['n,a=juliet@capulet.lit@capulet.lit,', 'invalid-authzid'],
    ['n,a=@capulet.lit,', 'invalid-authzid'],
    ['n,a=juliet@,', 'invalid-authzid'],
    ['n,a=capulet.lit,', 'invalid-authzid'],
    ['n,a=,', 'malformed-request'],
    ['n,juliet,', 'malformed-request'],
  ])('authzid in %s: %s', async (gs2, expected) => {
    const step = await login(mechanism, new Client({ ...juliet, gs2 }))
    expect(step.kind === 'failure' ? step.condition : step.kind).toBe(expected)
  })

  it('a wrong password fails, and so does an unknown user, at the same step and with the same words', async () => {
    const wrong = await login(mechanism, new Client({ ...juliet, password: 'wrong' }))
    expect(wrong).toMatchObject({ kind: 'failure', condition: 'not-authorized' })
    expect(await login(mechanism, new Client({ ...juliet, username: 'nobody' }))).toEqual(wrong)
  })

  it('the challenges of an unknown user are like those of a known one', async () => {
    const ask = async (username: string) => {
      const text = challenge(await begin(mechanism).step(Buffer.from(`n,,n=${username},r=abc`))).toString()
      return /^r=(?<nonce>[^,]+),s=(?<salt>[^,]+),i=(?<iterations>.+)$/.exec(text)?.groups ?? {}
    }
    const [known, unknown, again, upper] = [
      await ask('juliet'),
      await ask('nobody'),
      await ask('nobody'),
      await ask('NOBODY'),
    ]
    expect(unknown['iterations']).toBe(known['iterations'])
    expect(unknown['salt']).toHaveLength(known['salt']?.length ?? 0)
    expect(again['salt']).toBe(unknown['salt'])
    expect(upper['salt']).toBe(unknown['salt'])
    expect(again['nonce']).not.toBe(unknown['nonce'])
    expect((await ask('juliet'))['salt']).toBe(known['salt'])
  })

  it('an answer can not be used again', async () => {
    const client = new Client(juliet)
    const exchange = begin(mechanism)
    const final = client.final(challenge(await exchange.step(client.first())))
    const again = begin(mechanism)
    await again.step(client.first())
    expect(await again.step(final)).toMatchObject({ condition: 'not-authorized' })
    expect(await exchange.step(final)).toMatchObject({ kind: 'success' })
    expect(await exchange.step(final)).toMatchObject({ kind: 'failure' })
    expect(await exchange.step(undefined)).toMatchObject({ kind: 'failure' })
  })

  it('a password that is changed, or a user that is deleted, between challenge and answer', async () => {
    for (const act of ['setPassword', 'delete'] as const) {
      await users.create('tybalt', 'old')
      const client = new Client({ hash, username: 'tybalt', password: 'old' })
      const exchange = begin(mechanism)
      const first = challenge(await exchange.step(client.first()))
      await users[act]('tybalt', 'new')
      expect(await exchange.step(client.final(first))).toMatchObject({ condition: 'not-authorized' })
      if (act === 'setPassword') await users.delete('tybalt')
    }
  })

  it('without an initial response, an empty challenge asks for it, once', async () => {
    const client = new Client(juliet)
    const exchange = begin(mechanism)
    expect(await exchange.step(undefined)).toEqual({ kind: 'challenge', data: Buffer.alloc(0) })
    const first = await exchange.step(client.first())
    expect(await exchange.step(client.final(challenge(first)))).toMatchObject({ kind: 'success' })
    const other = begin(mechanism)
    await other.step(undefined)
    expect(await other.step(undefined)).toMatchObject({ condition: 'malformed-request' })
    expect(await other.step(client.first())).toMatchObject({ kind: 'failure' })
  })

  it('a message before the last one was answered ends it', async () => {
    const client = new Client(juliet)
    const exchange = begin(mechanism)
    const steps = await Promise.all([exchange.step(client.first()), exchange.step(client.first())])
    expect(steps.map(({ kind }) => kind)).toEqual(['failure', 'failure'])
    expect(await exchange.step(client.first())).toMatchObject({ kind: 'failure' })
  })

  const overlong = Buffer.concat([Buffer.from('n,,n='), Buffer.from([0xc1, 0x81]), Buffer.from(',r=abc')])
  it.each<[string, string | Buffer]>([
    ['nothing', ''],
    ['no header', 'n=juliet,r=abc'],
    ['half a header', 'n,'],
    ['an unknown flag', 'x,,n=juliet,r=abc'],
    ['an upper case flag', 'N,,n=juliet,r=abc'],
    ['a flag with more', 'nn,,n=juliet,r=abc'],
    ['a binding without type', 'p=,,n=juliet,r=abc'],
    ['a binding with strange type', 'p=tls_exporter,,n=juliet,r=abc'],
    ['a mandatory extension', 'n,,m=x,n=juliet,r=abc'],
    ['a mandatory extension behind', 'n,,n=juliet,r=abc,m=x'],
    ['no user', 'n,,r=abc'],
    ['an empty user', 'n,,n=,r=abc'],
    ['no nonce', 'n,,n=juliet'],
    ['an empty nonce', 'n,,n=juliet,r='],
    ['an empty nonce and an extension', 'n,,n=juliet,r=,x=y'],
    ['a nonce with a space', 'n,,n=juliet,r=a b'],
    ['a nonce beyond ASCII', 'n,,n=juliet,r=é'],
    ['a nonce with a control character', 'n,,n=juliet,r=a\u{7f}'],
    ['a nonce that is too long', `n,,n=juliet,r=${'a'.repeat(257)}`],
    ['the wrong order', 'n,,r=abc,n=juliet'],
    ['a nonce twice', 'n,,n=juliet,r=abc,r=def'],
    ['a user twice', 'n,,n=juliet,n=juliet,r=abc'],
    ['a user as extension', 'n,,n=juliet,r=abc,n=romeo'],
    ['an extension without name', 'n,,n=juliet,r=abc,=x'],
    ['an extension without value', 'n,,n=juliet,r=abc,x='],
    ['an extension of two letters', 'n,,n=juliet,r=abc,xy=z'],
    ['a comma at the end', 'n,,n=juliet,r=abc,'],
    ['too many extensions', `n,,n=juliet,r=abc${',x=y'.repeat(17)}`],
    ['a bare = in the name', 'n,,n=jul=iet,r=abc'],
    ['a lower case escape', 'n,,n=jul=2ciet,r=abc'],
    ['an unknown escape', 'n,,n=jul=41iet,r=abc'],
    ['an escape cut off', 'n,,n=juliet=2,r=abc'],
    ['NUL in the name', 'n,,n=jul\0iet,r=abc'],
    ['NUL in an extension', 'n,,n=juliet,r=abc,x=\0'],
    ['a bare = in the authzid', 'n,a=jul=iet,n=juliet,r=abc'],
    ['a name that SASLprep refuses', 'n,,n=jul\u{202e}iet,r=abc'],
    ['a name that SASLprep empties', 'n,,n=\u{ad},r=abc'],
    ['a name that no JID has', 'n,,n=juliet@capulet.lit,r=abc'],
    ['a name that is too long', `n,,n=${'x'.repeat(1024)},r=abc`],
    ['a message that is too long', `n,,n=juliet,r=abc,x=${'y'.repeat(9000)}`],
    ['broken UTF-8', Buffer.from([0x6e, 0x2c, 0x2c, 0x6e, 0x3d, 0xff])],
    ['overlong UTF-8', overlong],
    ['a byte order mark', '\u{feff}n,,n=juliet,r=abc'],
  ])('first message, hostile: %s', async (_, text) => {
    const exchange = begin(mechanism)
    const step = await exchange.step(Buffer.from(text as string))
    expect(step).toMatchObject({ kind: 'failure', condition: 'malformed-request' })
    expect(await exchange.step(Buffer.from('n,,n=juliet,r=abc'))).toMatchObject({ kind: 'failure' })
  })

  it.each<[string, (good: string) => string]>([
    ['nothing', () => ''],
    ['no proof', (good) => good.slice(0, good.lastIndexOf(','))],
    ['an empty proof', (good) => good.slice(0, good.lastIndexOf(',p=') + 3)],
    ['a short proof', (good) => `${good.slice(0, good.lastIndexOf(',p=') + 3)}AAAA`],
    [
      'a proof of zeros',
      (good) =>
        `${good.slice(0, good.lastIndexOf(',p=') + 3)}${Buffer.alloc(hash === 'SHA-1' ? 20 : 32).toString('base64')}`,
    ],
    ['a proof without padding', (good) => good.replace(/=+$/, '')],
    ['a proof with more padding', (good) => `${good}=`],
    ['a proof with a line break', (good) => `${good}\n`],
    ['something after the proof', (good) => `${good},x=y`],
    ['two proofs', (good) => `${good},${good.slice(good.lastIndexOf(',p=') + 1)}`],
    ['no binding', (good) => good.slice(good.indexOf(',') + 1)],
    ['an empty binding', (good) => good.replace(/^c=[^,]*/, 'c=')],
    ['another binding', (good) => good.replace(/^c=[^,]*/, 'c=eSws')],
    ['a binding with junk', (good) => good.replace(/^c=/, 'c=*')],
    ['URL-safe Base64', (good) => good.replace(/^c=[^,]*/, 'c=biws-_')],
    ['no nonce', (good) => good.replace(/,r=[^,]*/, '')],
    ['the client nonce only', (good) => good.replace(/,r=[^,]*/, ',r=abc')],
    ['a longer nonce', (good) => good.replace(/,r=[^,]*/, '$&A')],
    ['a nonce without the last character', (good) => good.replace(/(,r=[^,]*)[^,]/, '$1')],
    ['an endless nonce', (good) => good.replace(/,r=[^,]*/, `,r=${'a'.repeat(600)}`)],
    ['a mandatory extension', (good) => good.replace(',p=', ',m=x,p=')],
    ['the wrong order', (good) => good.replace(/^(c=[^,]*),(r=[^,]*)/, '$2,$1')],
    [
      'a changed character',
      (good) => good.replace(/(.)==?$|(.)$/, (end) => (end.startsWith('A') ? 'B' : 'A') + end.slice(1)),
    ],
    ['too long', (good) => good.replace(',p=', `,x=${'y'.repeat(9000)},p=`)],
    ['an extension that was not signed', (good) => good.replace(',p=', ',x=y,p=')],
  ])('final message, hostile: %s', async (_, spoil) => {
    const client = new Client(juliet)
    const exchange = begin(mechanism)
    const good = client.final(challenge(await exchange.step(client.first())))
    const bad = spoil(good.toString())
    expect(bad).not.toBe(good.toString())
    const step = await exchange.step(Buffer.from(bad))
    expect(step.kind).toBe('failure')
    expect(step.kind === 'failure' && ['malformed-request', 'not-authorized'].includes(step.condition)).toBe(
      true,
    )
    expect(await exchange.step(good)).toMatchObject({ kind: 'failure' })
  })
})

describe('PLAIN', () => {
  const plain = async (message: string | Buffer) => {
    const step = await begin('PLAIN').step(Buffer.from(message as string))
    return step.kind === 'failure' ? step.condition : step
  }

  it.each([
    ['\0juliet\0r0m30', 'juliet'],
    ['\0JULIET\0r0m30', 'juliet'],
    ['juliet\0juliet\0r0m30', 'juliet'],
    ['juliet@capulet.lit\0juliet\0r0m30', 'juliet'],
    ['\0a,b=c\0pass=word,', 'a,b=c'],
    ['\0ロミオ\0IX', 'ロミオ'],
  ])('%j logs in', async (message, username) => {
    expect(await plain(message)).toEqual({ kind: 'success', data: undefined, username })
  })

  it.each<[string | Buffer, string]>([
    ['', 'malformed-request'],
    ['\0', 'malformed-request'],
    ['\0\0', 'malformed-request'],
    ['juliet\0r0m30', 'malformed-request'],
    ['\0juliet\0', 'malformed-request'],
    ['\0\0r0m30', 'malformed-request'],
    ['\0juliet\0r0m30\0', 'malformed-request'],
    ['\0juliet\0r0m30\0x', 'malformed-request'],
    [Buffer.from([0, 0x6a, 0, 0xff]), 'malformed-request'],
    [Buffer.from([0, 0x6a, 0, 0xed, 0xa0, 0x80]), 'malformed-request'],
    [`\0juliet\0${'x'.repeat(9000)}`, 'malformed-request'],
    [`\0juliet\0${'x'.repeat(1024)}`, 'not-authorized'],
    [`\0${'x'.repeat(1024)}\0x`, 'not-authorized'],
    ['\0juliet\0wrong', 'not-authorized'],
    ['\0juliet\0r0m30 ', 'not-authorized'],
    ['\0juliet\0r0m\u{7}30', 'not-authorized'],
    ['\0nobody\0r0m30', 'not-authorized'],
    ['\0juliet@capulet.lit\0r0m30', 'not-authorized'],
    ['\0jul\u{202e}iet\0r0m30', 'not-authorized'],
    ['romeo\0juliet\0r0m30', 'invalid-authzid'],
    ['romeo@capulet.lit\0juliet\0r0m30', 'invalid-authzid'],
    ['juliet@montague.lit\0juliet\0r0m30', 'invalid-authzid'],
    ['juliet@capulet.lit/x\0juliet\0r0m30', 'invalid-authzid'],
  ])('%j fails: %s', async (message, condition) => {
    expect(await plain(message)).toBe(condition)
  })

  it('without an initial response, and not twice', async () => {
    const exchange = begin('PLAIN')
    expect(await exchange.step(undefined)).toMatchObject({ kind: 'challenge' })
    expect(await exchange.step(Buffer.from('\0juliet\0r0m30'))).toMatchObject({ kind: 'success' })
    expect(await exchange.step(Buffer.from('\0juliet\0r0m30'))).toMatchObject({ kind: 'failure' })
  })
})

describe('whatever comes', () => {
  it('a store that fails gives temporary-auth-failure, with the cause for the log', async () => {
    const broken = new Error('broken')
    const store = openStorage('memory', { path: '' }).openKeyval<AccountRecord>('capulet.lit', 'accounts')
    const failing = new Users({ ...store, get: () => Promise.reject(broken) })
    const expected = { kind: 'failure', condition: 'temporary-auth-failure', cause: broken }
    expect(await begin('PLAIN', { users: failing }).step(Buffer.from('\0juliet\0r0m30'))).toMatchObject(
      expected,
    )
    const scram = begin('SCRAM-SHA-1', { users: failing })
    expect(await scram.step(Buffer.from('n,,n=juliet,r=abc'))).toMatchObject(expected)
    expect(await scram.step(Buffer.from('n,,n=juliet,r=abc'))).toMatchObject({ kind: 'failure' })
  })

  it('random and spoilt messages never succeed and never throw', async () => {
    const seeds = [
      'n,,n=juliet,r=abc',
      'p=tls-exporter,a=juliet,n=juliet,r=abc,x=y',
      '\0juliet\0r0m3',
      'c=biws,r=abc,p=AAAA',
    ]
    const until = Date.now() + 1500
    for (let round = 0; Date.now() < until; round++) {
      const names = availableMechanisms({ channelBindings: true, plainAllowed: true })
      const exchange = begin(names[round % names.length] ?? '', { channelBindings: bindings })
      for (let i = 0; i < 3; i++) {
        const bytes =
          round % 3 === 0 ? randomBytes(round % 100) : Buffer.from(seeds[(round + i) % seeds.length] ?? '')
        if (i > 0 || round % 2 === 0) {
          for (let n = round % 4; n > 0 && bytes.length > 0; n--) {
            bytes[Math.floor(Math.random() * bytes.length)] = Math.floor(Math.random() * 256)
          }
        }
        const step = await exchange.step(bytes)
        expect(step.kind === 'failure' || (step.kind === 'challenge' && i === 0)).toBe(true)
        if (step.kind === 'failure') expect(step.condition).not.toBe('temporary-auth-failure')
      }
    }
  })
})
