/** The server's side of PLAIN (RFC 4616): authzid NUL authcid NUL password. */

import {
  disabled,
  failure,
  type Mechanism,
  refused,
  type SaslContext,
  type SaslStep,
} from './sasl-exchange.ts'
import { decodeUtf8, isOwnAuthzid, MAX_MESSAGE_LENGTH, prepareName } from './sasl-syntax.ts'

export function runPlain(context: SaslContext): Mechanism {
  return (message) => authenticate(message, context)
}

async function authenticate(message: Buffer, context: SaslContext): Promise<SaslStep> {
  if (message.length > MAX_MESSAGE_LENGTH) return failure('malformed-request', 'the message is too long')
  const text = decodeUtf8(message)
  if (text === undefined) return failure('malformed-request', 'the message is not UTF-8')
  const parts = text.split('\0')
  const [authzid, authcid, password] = parts
  if (parts.length !== 3 || authzid === undefined || !authcid || !password) {
    return failure('malformed-request', 'the message is not authzid NUL authcid NUL password')
  }
  const username = prepareName(authcid, context)
  if (username === undefined) return failure('not-authorized', 'the user name or the password is wrong')
  if (authzid !== '' && !isOwnAuthzid(authzid, username, context)) {
    return failure('invalid-authzid', 'one can only log in as oneself')
  }
  const admitted = context.admit?.(username)
  if (admitted !== undefined && !(await admitted)) return refused()
  const check = await context.users.checkPassword(username, password)
  if (check === 'wrong') return failure('not-authorized', 'the user name or the password is wrong')
  if (check === 'disabled') return disabled()
  return { kind: 'success', data: undefined, username }
}
