// Prosody's `ssl` table, read into what node:tls wants.
import type { SecureContextOptions, SecureVersion } from 'node:tls'
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
  'DHE-RSA-AES256-GCM-SHA384',
  'DHE-RSA-AES128-GCM-SHA256',
]

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
  const options: SecureContextOptions = { minVersion: 'TLSv1.2', honorCipherOrder: true }
  const used = new Set(READ_ELSEWHERE)
  const list = (name: string): string[] | undefined => {
    used.add(name)
    return listOption(ssl, name, host)
  }
  used.add('protocol')
  Object.assign(options, readVersions(stringOption(ssl, 'protocol', host), host, log))

  const suites = list('ciphersuites') ?? SUITES_1_3
  options.ciphers = [...suites, ...(list('ciphers') ?? CIPHERS)].join(':')
  const curves = list('curveslist') ?? list('curve')
  if (curves !== undefined) options.ecdhCurve = curves.join(':')
  used.add('options')
  const flags = ssl['options']
  if (typeof flags === 'object' && flags !== null && 'cipher_server_preference' in flags) {
    options.honorCipherOrder = flags.cipher_server_preference !== false
  }
  for (const name of Object.keys(ssl)) {
    if (!used.has(name)) log.warn('an option in the ssl table is not used here', { host, option: name })
  }
  return options
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
