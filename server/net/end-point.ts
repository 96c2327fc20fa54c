// tls-server-end-point (RFC 5929 §4): the hash of a certificate that clients bind their login to.
import { createHash } from 'node:crypto'
import { type DerElement, isObjectIdentifier, readElements, readSequence } from './der.ts'

/** Signature algorithms by the hash they use; MD5 and SHA-1 are missing because SHA-256 stands in for them. */
const SIGNATURES: Record<string, string[]> = {
  sha224: ['1.2.840.113549.1.1.14', '1.2.840.10045.4.3.1', '2.16.840.1.101.3.4.3.1'],
  sha256: ['1.2.840.113549.1.1.11', '1.2.840.10045.4.3.2', '2.16.840.1.101.3.4.3.2'],
  sha384: ['1.2.840.113549.1.1.12', '1.2.840.10045.4.3.3', '2.16.840.1.101.3.4.3.3'],
  sha512: ['1.2.840.113549.1.1.13', '1.2.840.10045.4.3.4', '2.16.840.1.101.3.4.3.4'],
}

/** RSASSA-PSS names its hash in the parameters (RFC 4055 §3.1). */
const RSASSA_PSS = '1.2.840.113549.1.1.10'
const HASHES: Record<string, string> = {
  sha224: '2.16.840.1.101.3.4.2.4',
  sha256: '2.16.840.1.101.3.4.2.1',
  sha384: '2.16.840.1.101.3.4.2.2',
  sha512: '2.16.840.1.101.3.4.2.3',
}

/**
 * The channel binding of a certificate: its hash by the hash function of its own signature, by SHA-256 if that
 * is MD5 or SHA-1. RFC 5929 leaves signatures without one hash (Ed25519) open; they have SHA-256 here.
 *
 * @param raw the certificate in DER
 * @throws RangeError if it is not a certificate
 */
export function endPointHash(raw: Buffer): Buffer {
  // Certificate ::= SEQUENCE { tbsCertificate, signatureAlgorithm, signatureValue }
  const [certificate] = readElements(raw, 1)
  const [, algorithm] = readSequence(certificate)
  return createHash(signatureHash(readSequence(algorithm)))
    .update(raw)
    .digest()
}

function signatureHash([identifier, parameters]: DerElement[]): string {
  for (const [hash, identifiers] of Object.entries(SIGNATURES)) {
    if (identifiers.some((dotted) => isObjectIdentifier(identifier, dotted))) return hash
  }
  if (isObjectIdentifier(identifier, RSASSA_PSS) && parameters !== undefined) {
    // RSASSA-PSS-params ::= SEQUENCE { hashAlgorithm [0] AlgorithmIdentifier DEFAULT sha1, … }
    const tagged = readSequence(parameters).find(({ tag }) => tag === 0xa0)
    const [named] = tagged === undefined ? [] : readSequence(readElements(tagged.contents, 1)[0])
    for (const [hash, dotted] of Object.entries(HASHES)) if (isObjectIdentifier(named, dotted)) return hash
  }
  return 'sha256'
}
