// Finds the certificate of a host in a folder, by the names files have and by the names in them, as Prosody does.
import { X509Certificate } from 'node:crypto'
import type { Dirent } from 'node:fs'
import { readdir, readFile, stat } from 'node:fs/promises'
import { isIP } from 'node:net'
import { join } from 'node:path'
import { domainToASCII } from 'node:url'

export interface CertificateFiles {
  certificate: string
  key: string
}

const MAX_DEPTH = 3
/** A chain has some 5 kB; larger files in the folder are something else. In bytes. */
const MAX_FILE_SIZE = 1024 * 1024

/**
 * The certificate for a host in `folder` (which may also be the certificate's file): one whose names have the
 * host, exactly or by a wildcard, and that is valid longest; else one in a file of the host's name; else the
 * same for the domain above it, since components often go with the certificate of the main host.
 */
export async function findCertificate(folder: string, host: string): Promise<CertificateFiles | undefined> {
  if (await isFile(folder)) return withKey(folder)
  const indexed = await indexFolder(folder, MAX_DEPTH)
  for (let name = host; name !== ''; name = parentOf(name)) {
    const found = bestByName(indexed, name) ?? (await findByFileName(folder, name))
    if (found !== undefined) return found
  }
  return undefined
}

function parentOf(name: string): string {
  if (isIP(name) !== 0 || name.startsWith('[')) return ''
  const dot = name.indexOf('.')
  return dot === -1 ? '' : name.slice(dot + 1)
}

interface IndexedCertificate extends CertificateFiles {
  x509: X509Certificate
}

async function indexFolder(folder: string, depth: number): Promise<IndexedCertificate[]> {
  const found: IndexedCertificate[] = []
  let entries: Dirent[]
  try {
    entries = await readdir(folder, { withFileTypes: true })
  } catch {
    return found
  }
  for (const entry of entries) {
    const path = join(folder, entry.name)
    // certbot's files are links, and its folders may be
    const kind = entry.isSymbolicLink() ? await stat(path).catch(() => undefined) : entry
    if (kind?.isDirectory()) {
      if (depth > 1 && !entry.name.startsWith('.')) found.push(...(await indexFolder(path, depth - 1)))
    } else if (kind?.isFile() && (entry.name.endsWith('.crt') || entry.name.includes('fullchain'))) {
      const indexed = await indexFile(path)
      if (indexed !== undefined) found.push(indexed)
    }
  }
  return found
}

async function indexFile(path: string): Promise<IndexedCertificate | undefined> {
  const files = await withKey(path)
  if (files === undefined) return undefined
  try {
    if ((await stat(path)).size > MAX_FILE_SIZE) return undefined
    const x509 = new X509Certificate(await readFile(path))
    const now = Date.now()
    if (now < Date.parse(x509.validFrom) || now > Date.parse(x509.validTo)) return undefined
    return { ...files, x509 }
  } catch {
    // Not readable, or no certificate: as if it were not there, since nobody named it
    return undefined
  }
}

function bestByName(indexed: IndexedCertificate[], name: string): CertificateFiles | undefined {
  let best: { entry: IndexedCertificate; rank: [exact: number, until: number] } | undefined
  for (const entry of indexed) {
    const matched = matchingName(entry.x509, name)
    if (matched === undefined) continue
    const rank: [number, number] = [matched.startsWith('*') ? 0 : 1, Date.parse(entry.x509.validTo)]
    if (
      best === undefined ||
      rank[0] > best.rank[0] ||
      (rank[0] === best.rank[0] && rank[1] > best.rank[1])
    ) {
      best = { entry, rank }
    }
  }
  return best && { certificate: best.entry.certificate, key: best.entry.key }
}

/** The name in the certificate that is the host's, which may be a wildcard; undefined if there is none. */
export function matchingName(x509: X509Certificate, host: string): string | undefined {
  const address = host.startsWith('[') ? host.slice(1, -1) : host
  if (isIP(address) !== 0) return x509.checkIP(address)
  const name = domainToASCII(host)
  return name === '' ? undefined : x509.checkHost(name, { partialWildcards: false })
}

async function findByFileName(folder: string, name: string): Promise<CertificateFiles | undefined> {
  for (const base of new Set([name, domainToASCII(name) || name])) {
    for (const file of [`${base}.crt`, join(base, 'fullchain.pem'), `${base}.pem`]) {
      const path = join(folder, file)
      const files = (await isFile(path)) ? await withKey(path) : undefined
      if (files !== undefined) return files
    }
  }
  return undefined
}

/** The file with the key that belongs to a certificate's file by its name: x.crt, x.key; fullchain, privkey. */
export async function withKey(certificate: string): Promise<CertificateFiles | undefined> {
  const candidates = [
    certificate.replace(/\.crt$/, '.key'),
    certificate.replace(/fullchain([^/\\]*)$/, 'privkey$1'),
    certificate.replace(/\.pem$/, '.key'),
  ].filter((path) => path !== certificate)
  for (const key of candidates) if (await isFile(key)) return { certificate, key }
  // One file with both
  const text = await readFile(certificate, 'latin1').catch(() => '')
  return text.includes('PRIVATE KEY-----') ? { certificate, key: certificate } : undefined
}

async function isFile(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined))?.isFile() ?? false
}
