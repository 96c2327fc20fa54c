/** SCRAM against the examples of its RFCs. */

import { expect, it } from 'vitest'
import { Exchange, type SaslContext } from '../../server/auth/sasl-exchange.ts'
import { runScram } from '../../server/auth/sasl-scram.ts'
import { deriveKeys, type ScramHash } from '../../server/auth/scram.ts'
import { type AccountRecord, Users } from '../../server/auth/users.ts'
import { openStorage } from '../../server/storage/index.ts'

it.each<[string, ScramHash, string, string, string, string, string]>([
  [
    'RFC 5802 §5',
    'SHA-1',
    'QSXCR+Q6sek8bf92',
    'fyko+d2lbbFgONRv9qkxdawL',
    '3rfcNHYJY1ZVvWVs7j',
    'v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=',
    'rmF9pqV8S7suAoZWja4dJRkFsKQ=',
  ],
  [
    'RFC 7677 §3',
    'SHA-256',
    'W22ZaJ0SNY7soEsUEjb6gQ==',
    'rOprNGfwEbeRWgbNEkqO',
    '%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0',
    'dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=',
    '6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=',
  ],
])('%s', async (_, hash, salt, clientNonce, serverNonce, proof, verifier) => {
  const keys = await deriveKeys(hash, 'pencil', 4096, Buffer.from(salt, 'base64'))
  const store = openStorage('memory', { path: '' }).openKeyval<AccountRecord>('example.com', 'accounts')
  await store.set('user', { 'SCRAM-SHA-1': keys, 'SCRAM-SHA-256': keys, created: 0, updated: 0 })
  const context: SaslContext = {
    users: new Users(store),
    prepareUsername: (name) => name,
    host: 'example.com',
    channelBindings: undefined,
  }
  const exchange = new Exchange(`SCRAM-${hash}`, runScram(hash, false, context, serverNonce))
  const nonce = clientNonce + serverNonce
  const first = await exchange.step(Buffer.from(`n,,n=user,r=${clientNonce}`))
  expect(first.kind === 'challenge' && first.data.toString()).toBe(`r=${nonce},s=${salt},i=4096`)
  const final = await exchange.step(Buffer.from(`c=biws,r=${nonce},p=${proof}`))
  expect(final).toEqual({ kind: 'success', username: 'user', data: Buffer.from(`v=${verifier}`) })
})
