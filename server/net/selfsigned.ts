// Self-signed certificates for hosts that have none: one shape, ECDSA P-256 with SHA-256 (RFC 5280).
import { createHash, createPublicKey, type KeyObject, randomBytes, sign } from 'node:crypto'
import { isIPv4, isIPv6 } from 'node:net'
import { domainToASCII } from 'node:url'
import { der, objectIdentifier, sequence } from './der.ts'

const DAY_MS = 24 * 3600 * 1000

/** Days from now that a certificate is made for. */
export const SELF_SIGNED_DAYS = 365

const BOOLEAN = 0x01
const INTEGER = 0x02
const BIT_STRING = 0x03
const OCTET_STRING = 0x04
const UTF8_STRING = 0x0c
const SET = 0x31
const UTC_TIME = 0x17
const GENERALIZED_TIME = 0x18
/** [n] in a context, primitive or holding others */
const context = (n: number): number => 0x80 | n
const contextHolding = (n: number): number => 0xa0 | n

const ECDSA_WITH_SHA256 = sequence(objectIdentifier('1.2.840.10045.4.3.2'))
const TRUE = der(BOOLEAN, Buffer.from([0xff]))
/** What a commonName may have, in characters (RFC 5280 appendix A.1, ub-common-name). */
const MAX_COMMON_NAME = 64

/**
 * Makes a certificate for a host that its own key signs.
 *
 * @param host a domain, prepared; Unicode is fine
 * @param key an EC private key on P-256
 * @returns the certificate in PEM, valid from a day ago, for clocks that are behind, for {@link SELF_SIGNED_DAYS}
 */
export function makeSelfSigned(host: string, key: KeyObject, now = new Date()): string {
  const publicKey = createPublicKey(key).export({ type: 'spki', format: 'der' })
  const name = distinguishedName(host)
  const certificate = sequence(
    der(contextHolding(0), der(INTEGER, Buffer.from([2]))), // version 3
    der(INTEGER, serialNumber()),
    ECDSA_WITH_SHA256,
    name,
    sequence(
      time(new Date(now.getTime() - DAY_MS)),
      time(new Date(now.getTime() + SELF_SIGNED_DAYS * DAY_MS)),
    ),
    name,
    publicKey,
    der(contextHolding(3), extensions(host, publicKey)),
  )
  const signature = sign('sha256', certificate, { key, dsaEncoding: 'der' })
  return toPem(sequence(certificate, ECDSA_WITH_SHA256, bitString(signature)))
}

function extensions(host: string, publicKey: Buffer): Buffer {
  const keyIdentifier = createHash('sha256').update(publicKey).digest().subarray(0, 20)
  return sequence(
    extension('2.5.29.14', der(OCTET_STRING, keyIdentifier)), // subjectKeyIdentifier
    extension('2.5.29.19', sequence(), TRUE), // basicConstraints: signs no others
    extension('2.5.29.15', bitString(Buffer.from([0x80]), 7), TRUE), // keyUsage: digitalSignature
    // extKeyUsage: serverAuth, and clientAuth for connections to other servers
    extension(
      '2.5.29.37',
      sequence(objectIdentifier('1.3.6.1.5.5.7.3.1'), objectIdentifier('1.3.6.1.5.5.7.3.2')),
    ),
    extension('2.5.29.17', sequence(...alternativeNames(host))), // subjectAltName
  )
}

function extension(identifier: string, value: Buffer, critical?: Buffer): Buffer {
  const content = der(OCTET_STRING, value)
  const type = objectIdentifier(identifier)
  return critical === undefined ? sequence(type, content) : sequence(type, critical, content)
}

/** RFC 6120 §13.7.1.2: the host as dNSName, or iPAddress, and as id-on-xmppAddr, where it keeps its letters. */
function alternativeNames(host: string): Buffer[] {
  const address = ipBytes(host)
  const xmppAddress = der(
    contextHolding(0),
    objectIdentifier('1.3.6.1.5.5.7.8.5'),
    der(contextHolding(0), der(UTF8_STRING, Buffer.from(host))),
  )
  if (address !== undefined) return [der(context(7), address), xmppAddress]
  const ascii = domainToASCII(host) || host
  return [der(context(2), Buffer.from(ascii, 'latin1')), xmppAddress]
}

function ipBytes(host: string): Buffer | undefined {
  if (isIPv4(host)) return Buffer.from(host.split('.').map(Number))
  const address = host.startsWith('[') ? host.slice(1, -1) : host
  if (!isIPv6(address)) return undefined
  // The URL parser writes an embedded IPv4 address as two groups, too
  const [head = '', tail] = new URL(`http://[${address}]`).hostname.slice(1, -1).split('::')
  const groups = (text: string): string[] => (text === '' ? [] : text.split(':'))
  const first = groups(head)
  const last = groups(tail ?? '')
  const all = [...first, ...new Array<string>(8 - first.length - last.length).fill('0'), ...last]
  return Buffer.concat(all.map((group) => Buffer.from(group.padStart(4, '0'), 'hex')))
}

function distinguishedName(host: string): Buffer {
  const commonName = [...host].slice(0, MAX_COMMON_NAME).join('')
  const attribute = sequence(objectIdentifier('2.5.4.3'), der(UTF8_STRING, Buffer.from(commonName)))
  return sequence(der(SET, attribute))
}

/** 16 random bytes: positive, and with no leading zero byte, as DER wants integers. */
function serialNumber(): Buffer {
  const bytes = randomBytes(16)
  bytes[0] = (bytes[0]! & 0x7f) | 0x40
  return bytes
}

/** RFC 5280 §4.1.2.5: two digits of the year until 2049, four from then. */
function time(date: Date): Buffer {
  const digits = `${date.toISOString().replace(/[-:T]/g, '').slice(0, 14)}Z`
  if (date.getUTCFullYear() < 2050) return der(UTC_TIME, Buffer.from(digits.slice(2)))
  return der(GENERALIZED_TIME, Buffer.from(digits))
}

function bitString(bytes: Uint8Array, unusedBits = 0): Buffer {
  return der(BIT_STRING, Buffer.from([unusedBits]), bytes)
}

function toPem(certificate: Buffer): string {
  const lines = certificate.toString('base64').match(/.{1,64}/g) ?? []
  return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`
}
