/** What the mechanisms have in common: reading text, preparing names, judging the authzid. */

import type { SaslContext } from './sasl-exchange.ts'
import { saslprep } from './saslprep.ts'

/** Bytes of a message from a client that nobody knows yet. */
export const MAX_MESSAGE_LENGTH = 8192

/** Bytes of a localpart (RFC 7622 §3.3), and so of a user name. */
export const MAX_USERNAME_LENGTH = 1023

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** UTF-8, or `undefined` if it is broken (an overlong form, a surrogate, a cut-off sequence). */
export function decodeUtf8(bytes: Buffer): string | undefined {
  try {
    return decoder.decode(bytes)
  } catch {
    return undefined
  }
}

/** The localpart of a user name as it was sent, or `undefined` if no account can have it. */
export function prepareName(name: string, context: SaslContext): string | undefined {
  if (Buffer.byteLength(name) > MAX_USERNAME_LENGTH) return undefined
  const prepared = saslprep(name, 'query')
  if (prepared === undefined || prepared === '') return undefined
  const username = context.prepareUsername(prepared)
  return username === '' ? undefined : username
}

/**
 * Whether a user may act as an authzid: as itself only, given by bare JID or by name (RFC 6120 §6.3.8).
 *
 * @param username as `prepareName` gave it
 */
export function isOwnAuthzid(authzid: string, username: string, context: SaslContext): boolean {
  const at = authzid.indexOf('@')
  if (at === -1) return prepareName(authzid, context) === username
  const domain = authzid
    .slice(at + 1)
    .normalize('NFKC')
    .toLowerCase()
  return domain === context.host && prepareName(authzid.slice(0, at), context) === username
}
