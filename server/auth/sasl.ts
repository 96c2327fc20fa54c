/**
 * The server's side of SASL (RFC 4422): PLAIN and SCRAM, with and without channel binding. What is XMPP's about
 * it (XML, Base64 of whole messages, retries) is left to the caller.
 */

import { Exchange, hasBindings, type SaslContext, type SaslExchange } from './sasl-exchange.ts'
import { runPlain } from './sasl-plain.ts'
import { runScram } from './sasl-scram.ts'
import type { ScramHash } from './scram.ts'

export type { ChannelBindings, SaslContext, SaslExchange, SaslFailure, SaslStep } from './sasl-exchange.ts'

/** In order of preference. */
const MECHANISMS: readonly { name: string; hash?: ScramHash; plus?: boolean }[] = [
  { name: 'SCRAM-SHA-256-PLUS', hash: 'SHA-256', plus: true },
  { name: 'SCRAM-SHA-256', hash: 'SHA-256' },
  { name: 'SCRAM-SHA-1-PLUS', hash: 'SHA-1', plus: true },
  { name: 'SCRAM-SHA-1', hash: 'SHA-1' },
  { name: 'PLAIN' },
]

/**
 * The mechanisms to offer on a connection, in order of preference.
 *
 * @param options.channelBindings whether the connection has any: offers -PLUS
 * @param options.plainAllowed whether passwords may be sent as they are, as inside of TLS
 * @param options.disabled names that are not offered
 */
export function availableMechanisms(options: {
  channelBindings: boolean
  plainAllowed: boolean
  disabled?: readonly string[]
}): string[] {
  return MECHANISMS.filter(
    ({ name, hash, plus }) =>
      (hash !== undefined || options.plainAllowed) &&
      (plus !== true || options.channelBindings) &&
      options.disabled?.includes(name) !== true,
  ).map(({ name }) => name)
}

/**
 * Begins an authentication. Whether the mechanism was offered is the caller's to check.
 *
 * @returns `undefined` if there is no such mechanism, or it is a -PLUS one and the connection has no bindings
 */
export function startExchange(mechanism: string, context: SaslContext): SaslExchange | undefined {
  const found = MECHANISMS.find(({ name }) => name === mechanism)
  if (found === undefined) return undefined
  const { hash, plus = false } = found
  if (hash === undefined) return new Exchange(mechanism, runPlain(context))
  if (plus && !hasBindings(context)) return undefined
  return new Exchange(mechanism, runScram(hash, plus, context))
}
