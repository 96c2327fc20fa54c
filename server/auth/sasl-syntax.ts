/** What the mechanisms have in common: reading text, preparing names, judging the authzid. */

import { prepareDomain } from '../jid.ts'
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

/**
 * The localpart of a user name as it was sent, or `undefined` if no account can have it. What is a name by RFC 8265
 * is taken so, as in a JID; SASLprep (RFC 5802 §5.1) would leave out joiners that it has a right to. Others are
 * what SASLprep makes of them.
 */
export function prepareName(name: string, context: SaslContext): string | undefined {
  if (Buffer.byteLength(name) > MAX_USERNAME_LENGTH) return undefined
  const username = context.prepareUsername(name) ?? prepareOldName(name, context)
  return username === '' ? undefined : username
}

function prepareOldName(name: string, context: SaslContext): string | undefined {
  const prepared = saslprep(name, 'query')
  return prepared === undefined || prepared === '' ? undefined : context.prepareUsername(prepared)
}

/**
 * Whether a user may act as an authzid: as itself only, given by bare JID or by name (RFC 6120 §6.3.8).
 *
 * @param username as `prepareName` gave it
 */
export function isOwnAuthzid(authzid: string, username: string, context: SaslContext): boolean {
  const at = authzid.indexOf('@')
  if (at === -1) return prepareName(authzid, context) === username
  const domain = prepareDomain(authzid.slice(at + 1))
  return domain === context.host && prepareName(authzid.slice(0, at), context) === username
}
