/** The server's side of SCRAM (RFC 5802, RFC 7677). */

import { randomBytes, timingSafeEqual } from 'node:crypto'
import {
  type Dialogue,
  disabled,
  failure,
  hasBindings,
  type Mechanism,
  mechanismOf,
  refused,
  type SaslContext,
  type SaslStep,
} from './sasl-exchange.ts'
import { decodeUtf8, isOwnAuthzid, MAX_MESSAGE_LENGTH, prepareName } from './sasl-syntax.ts'
import { type ScramHash, serverSignature, verifyProof } from './scram.ts'
import { type ClientFirst, parseClientFinal, parseClientFirst, ScramSyntaxError } from './scram-messages.ts'

/**
 * @param plus whether the client chose the -PLUS mechanism
 * @param serverNonce printable ASCII without commas; random, except in a test
 */
export function runScram(
  hash: ScramHash,
  plus: boolean,
  context: SaslContext,
  serverNonce = randomBytes(18).toString('base64'),
): Mechanism {
  return mechanismOf(dialogue(hash, plus, context, serverNonce))
}

async function* dialogue(
  hash: ScramHash,
  plus: boolean,
  context: SaslContext,
  serverNonce: string,
): Dialogue {
  const first = parse(yield { kind: 'challenge', data: Buffer.alloc(0) }, parseClientFirst)
  if ('kind' in first) return first
  const binding = channelBinding(first.binding, plus, context)
  if ('kind' in binding) return binding
  const username = prepareName(first.username, context)
  if (username === undefined) return failure('malformed-request', 'the user name is not allowed')
  if (first.authzid !== undefined && !isOwnAuthzid(first.authzid, username, context)) {
    return failure('invalid-authzid', 'one can only log in as oneself')
  }

  const keys = await context.users.keysFor(username, hash)
  const nonce = first.nonce + serverNonce
  const serverFirst = `r=${nonce},s=${keys.salt},i=${keys.iterations}`
  const final = parse(yield { kind: 'challenge', data: Buffer.from(serverFirst) }, parseClientFinal)
  if ('kind' in final) return final

  const admitted = context.admit?.(username)
  if (admitted !== undefined && !(await admitted)) return refused()
  if (!sameBytes(Buffer.from(final.nonce), Buffer.from(nonce))) {
    return failure('not-authorized', 'the nonce is not that of this authentication')
  }
  if (!sameBytes(final.channelBinding, Buffer.concat([Buffer.from(first.gs2Header), binding.data]))) {
    return failure('not-authorized', 'the channel binding does not fit: is somebody in between?')
  }
  const authMessage = `${first.bare},${serverFirst},${final.withoutProof}`
  if (!verifyProof(hash, keys, authMessage, final.proof)) {
    return failure('not-authorized', 'the user name or the password is wrong')
  }
  // The account may have been deleted, or its password changed, since the challenge.
  const current = await context.users.keysFor(username, hash)
  if (current.storedKey !== keys.storedKey)
    return failure('not-authorized', 'the account has just been changed')
  if (current.disabled === true) return disabled()
  const signature = serverSignature(hash, keys, authMessage).toString('base64')
  return { kind: 'success', data: Buffer.from(`v=${signature}`), username }
}

function parse<M>(message: Buffer, parser: (text: string) => M): M | SaslStep {
  if (message.length > MAX_MESSAGE_LENGTH) return failure('malformed-request', 'the message is too long')
  const text = decodeUtf8(message)
  if (text === undefined) return failure('malformed-request', 'the message is not UTF-8')
  try {
    return parser(text)
  } catch (error) {
    if (error instanceof ScramSyntaxError) return failure('malformed-request', error.message)
    throw error
  }
}

/** The data that the client has to have bound to, empty without binding; or why it can not go on. */
function channelBinding(
  binding: ClientFirst['binding'],
  plus: boolean,
  context: SaslContext,
): { data: Buffer } | SaslStep {
  if (typeof binding === 'string') {
    if (plus) return failure('malformed-request', 'a -PLUS mechanism without channel binding')
    // RFC 5802 §6: the client would have bound, had it seen what we offered.
    if (binding === 'y' && hasBindings(context)) {
      return failure(
        'not-authorized',
        'channel binding was offered but did not reach you: is somebody in between?',
      )
    }
    return { data: Buffer.alloc(0) }
  }
  if (!plus) return failure('malformed-request', 'channel binding needs a -PLUS mechanism')
  const { type } = binding
  const data =
    type === 'tls-exporter' || type === 'tls-server-end-point'
      ? context.channelBindings?.get(type)
      : undefined
  if (data === undefined)
    return failure('malformed-request', `the channel binding ${type} is not available here`)
  return { data }
}

function sameBytes(a: Buffer, b: Buffer): boolean {
  return a.length === b.length && timingSafeEqual(a, b)
}
