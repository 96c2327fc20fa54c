// Prosody's `ssl` table, read into what node:tls wants.
import { constants } from 'node:crypto'
import { createSecureContext, type SecureContextOptions, type SecureVersion } from 'node:tls'
import type { Logger } from '../log.ts'

// Mozilla's "intermediate" list, strongest first; the suites of TLS 1.3 have to be named too
const SUITES_1_3 = ['TLS_AES_256_GCM_SHA384', 'TLS_CHACHA20_POLY1305_SHA256', 'TLS_AES_128_GCM_SHA256']
const CIPHERS = [
  'ECDHE-ECDSA-AES256-GCM-SHA384',
  'ECDHE-RSA-AES256-GCM-SHA384',
  'ECDHE-ECDSA-CHACHA20-POLY1305',
  'ECDHE-RSA-CHACHA20-POLY1305',
  'ECDHE-ECDSA-AES128-GCM-SHA256',
  'ECDHE-RSA-AES128-GCM-SHA256',
  // Offered only where `ssl.dhparam` names parameters: a handshake over them costs the server far more than the peer.
  'DHE-RSA-AES256-GCM-SHA384',
  'DHE-RSA-AES128-GCM-SHA256',
]
/**
 * Mozilla's too, after the hybrid with ML-KEM where OpenSSL has it, and before what certificates may be on. Without a list OpenSSL would also take the finite
 * fields of RFC 7919 up to 8192 bits, by which a peer that is nobody yet has the server work for milliseconds.
 */
const CURVES = ['X25519MLKEM768', 'X25519', 'P-256', 'P-384', 'P-521']
/** Flags of `ssl.options` that have an effect; the others are always so here, or only of older OpenSSL. */
const FLAGS = new Map<string, number>([
  ['no_ticket', constants.SSL_OP_NO_TICKET],
  ['no_tlsv1_2', constants.SSL_OP_NO_TLSv1_2],
  ['no_tlsv1_3', constants.SSL_OP_NO_TLSv1_3],
])

const VERSIONS = new Map<string, SecureVersion>([
  ['tlsv1_2', 'TLSv1.2'],
  ['tlsv1_3', 'TLSv1.3'],
])
/** Names of what RFC 8996 and RFC 7568 forbid. */
const FORBIDDEN_VERSIONS = ['sslv2', 'sslv3', 'tlsv1', 'tlsv1_1', 'sslv23']

/** Keys of the table that certificates.ts reads. */
const READ_ELSEWHERE = ['certificate', 'key', 'password', 'passphrase', 'dhparam']

export type SslTable = Record<string, unknown>

/** A string of the table. @throws Error if it is something else */
export function stringOption(ssl: SslTable, name: string, host: string): string | undefined {
  const value = ssl[name]
  if (value === undefined || value === null) return undefined
  if (typeof value !== 'string')
    throw new Error(`ssl.${name} of ${host}: expected a string, got ${typeof value}`)
  return value
}

/** A list in the table, which may be written as one string with colons. @throws Error if it is something else */
function listOption(ssl: SslTable, name: string, host: string): string[] | undefined {
  const value = ssl[name]
  if (value === undefined || value === null) return undefined
  const list = typeof value === 'string' ? value.split(':') : Array.isArray(value) ? value : [value]
  if (!list.every((entry) => typeof entry === 'string')) {
    throw new Error(`ssl.${name} of ${host}: expected a string or a list of strings`)
  }
  return list
}

/**
 * Versions, ciphers and curves from an `ssl` table.
 *
 * @throws Error that names the option and the host
 */
export function secureOptions(ssl: SslTable, host: string, log: Logger): SecureContextOptions {
  // All suites of the list are strong: who has no AES in hardware may choose the other one, as Mozilla advises.
  const options: SecureContextOptions = { minVersion: 'TLSv1.2', honorCipherOrder: false }
  const used = new Set(READ_ELSEWHERE)
  const list = (name: string): string[] | undefined => {
    used.add(name)
    return listOption(ssl, name, host)
  }
  used.add('protocol')
  Object.assign(options, readVersions(stringOption(ssl, 'protocol', host), host, log))

  const suites = list('ciphersuites') ?? SUITES_1_3
  options.ciphers = [...suites, ...(list('ciphers') ?? CIPHERS)].join(':')
  const [named, single] = [list('curveslist'), list('curve')]
  options.ecdhCurve = (named ?? single ?? defaultCurves()).join(':')
  used.add('options')
  const flags = readFlags(ssl['options'])
  options.honorCipherOrder = flags.get('cipher_server_preference') === true
  let secureOptions = 0
  for (const [name, bits] of FLAGS) if (flags.get(name) === true) secureOptions |= bits
  if (secureOptions !== 0) options.secureOptions = secureOptions
  for (const name of Object.keys(ssl)) {
    if (!used.has(name)) log.warn('an option in the ssl table is not used here', { host, option: name })
  }
  return options
}

let knownCurves: string[] | undefined

/** Those of {@link CURVES} that this OpenSSL has: it refuses a list with a name that it does not know. */
function defaultCurves(): string[] {
  knownCurves ??= CURVES.filter((curve) => {
    try {
      createSecureContext({ ecdhCurve: curve })
      return true
    } catch {
      // Otherwise the error would stay in OpenSSL's queue, see certificates.ts.
      createSecureContext()
      return false
    }
  })
  return knownCurves
}

/** Prosody's `options`: a list of names, or a table from names to whether they are on. */
function readFlags(flags: unknown): Map<string, boolean> {
  if (typeof flags === 'string') return new Map([[flags, true]])
  if (Array.isArray(flags)) return new Map(flags.map((name) => [String(name), true]))
  if (typeof flags !== 'object' || flags === null) return new Map()
  // A table of both has its list under 1, 2, …
  return new Map(
    Object.entries(flags).map(([name, on]) =>
      typeof on === 'string' ? ([on, true] as const) : ([name, on === true] as const),
    ),
  )
}

/** `tlsv1_2`: this version; `tlsv1_2+`: this one and what came after. */
function readVersions(protocol: string | undefined, host: string, log: Logger): SecureContextOptions {
  if (protocol === undefined) return {}
  const andLater = protocol.endsWith('+')
  const name = andLater ? protocol.slice(0, -1) : protocol
  const version = VERSIONS.get(name)
  if (version !== undefined) {
    return andLater ? { minVersion: version } : { minVersion: version, maxVersion: version }
  }
  if (FORBIDDEN_VERSIONS.includes(name) && (andLater || name === 'sslv23')) {
    log.warn('TLS before 1.2 is not offered (RFC 8996): using tlsv1_2+', { host, protocol })
    return {}
  }
  throw new Error(
    `ssl.protocol of ${host}: "${protocol}" is not available; write "tlsv1_2+", "tlsv1_2" or "tlsv1_3"`,
  )
}
