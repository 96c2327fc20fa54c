/** Which mechanisms are offered on a connection, and what they can be bound to. */

import {
  availableMechanisms,
  type ChannelBindings,
  NS_SASL,
  type ScramHash,
  type StreamSession,
} from '../../server/index.ts'
import type { SaslModule } from './options.ts'

/** The stream feature that offers these mechanisms (RFC 6120 §6.4.1). Their names have nothing to be escaped. */
function mechanismsFeature(names: readonly string[]): string {
  let list = ''
  for (const name of names) list += `<mechanism>${name}</mechanism>`
  return `<mechanisms xmlns='${NS_SASL}'>${list}</mechanisms>`
}

/** The channel bindings of a TLS connection (RFC 9266, RFC 5929). */
function bindingsOf(session: StreamSession): ChannelBindings | undefined {
  const { tls } = session.connection
  const { tlsMaterial } = session
  if (!session.secure || tls === undefined || tlsMaterial === undefined) return undefined
  // RFC 9266 §4.2: in TLS 1.2 the exporter is only safe with an extension that Node does not tell of.
  const exporter = tls.getProtocol() === 'TLSv1.3'
  return {
    types: () => (exporter ? ['tls-exporter', 'tls-server-end-point'] : ['tls-server-end-point']),
    get(type) {
      if (type === 'tls-server-end-point') return tlsMaterial.endPointHash
      return exporter ? tls.exportKeyingMaterial(32, 'EXPORTER-Channel-Binding', Buffer.alloc(0)) : undefined
    },
  }
}

/** The mechanisms that are offered on a connection. */
interface Offer {
  readonly names: readonly string[]
  /** As a stream feature; empty if there are none. */
  readonly feature: string
  /** Whether some of them bind to the channel. */
  readonly plus: boolean
}

/** What is offered, made once for each kind of connection and state of the configuration. */
export class Offers {
  private readonly module: SaslModule
  private known: (Offer | undefined)[] = []
  private revision = -1
  private missing: ReadonlySet<ScramHash> | undefined

  constructor(module: SaslModule) {
    this.module = module
  }

  to(session: StreamSession): Offer {
    const { host, options, server } = this.module
    const { missing } = host.users!
    if (this.revision !== server.configRevision || this.missing !== missing) {
      this.known = []
      this.revision = server.configRevision
      this.missing = missing
    }
    const { secure } = session
    const channelBindings = secure && options.tls_channel_binding && bindingsOf(session) !== undefined
    const kind = channelBindings ? 2 : secure ? 1 : 0
    const known = this.known[kind]
    if (known !== undefined) return known
    const names = this.namesFor(secure, channelBindings)
    const plus = names.some((name) => name.endsWith('-PLUS'))
    const offer = { names, feature: names.length === 0 ? '' : mechanismsFeature(names), plus }
    this.known[kind] = offer
    return offer
  }

  /** What -PLUS mechanisms bind to on this connection; undefined if none of them is offered. */
  bindings(session: StreamSession): ChannelBindings | undefined {
    return this.to(session).plus ? bindingsOf(session) : undefined
  }

  /** Whether a mechanism would be offered if the stream had TLS. */
  overTls(mechanism: string): boolean {
    return this.namesFor(true, false).includes(mechanism)
  }

  private namesFor(secure: boolean, channelBindings: boolean): string[] {
    const { options } = this.module
    if (!secure && options.c2s_require_encryption) return []
    const disabled = [...options.disable_sasl_mechanisms]
    if (!secure) disabled.push(...(options.insecure_sasl_mechanisms ?? []))
    const without = (hashes: readonly ScramHash[]) =>
      availableMechanisms({
        channelBindings,
        plainAllowed: secure || options.allow_unencrypted_plain_auth,
        disabled: [...disabled, ...hashes.flatMap((hash) => [`SCRAM-${hash}`, `SCRAM-${hash}-PLUS`])],
      })
    // A client takes the best that is offered, and accounts of another server may have no keys for that.
    const lacking = (['SHA-256', 'SHA-1'] as const).filter((hash) => this.missing?.has(hash))
    const names = without(lacking)
    // Where some have only the one and some only the other, PLAIN is for all, and makes the keys that they lack.
    // Without TLS no client is made to send its password.
    return lacking.length < 2 || (secure && names.length > 0) ? names : without(lacking.slice(0, 1))
  }
}
