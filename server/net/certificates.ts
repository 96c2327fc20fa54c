// The TLS certificate and context of each host: the operator's files, or a certificate of its own making.
import {
  createPrivateKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  X509Certificate,
} from 'node:crypto'
import { link, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { createSecureContext, type SecureContext } from 'node:tls'
import type { Logger } from '../log.ts'
import { type CertificateFiles, findCertificate, matchingName, withKey } from './certificate-files.ts'
import { endPointHash } from './end-point.ts'
import { makeSelfSigned } from './selfsigned.ts'
import { type SslTable, secureOptions, stringOption } from './tls-options.ts'

const DAY_MS = 24 * 3600 * 1000
/** Days before its end that a self-signed certificate is made anew, and that an operator's is warned of. */
const RENEWAL_DAYS = 30
const WARNING_DAYS = 7

export interface TlsMaterial {
  context: SecureContext
  /** the certificate and its chain */
  certificatePem: string
  selfSigned: boolean
  /** the certificate's file, or `self-signed` */
  source: string
  notAfter: Date
  /** channel binding tls-server-end-point (RFC 5929 §4) */
  endPointHash: Buffer
}

export interface TlsOptions {
  host: string
  /** the `ssl` option of the host */
  ssl?: SslTable
  /** folder with certificates, absolute; default `certs` beside the configuration */
  certificates?: string
  /** where self-signed certificates are kept, in a folder `certs` */
  dataPath: string
  /** where relative file names of the `ssl` option begin */
  configDirectory: string
}

interface KeyPair {
  certificatePem: string
  keyPem: string
  passphrase: string | undefined
  x509: X509Certificate
  source: string
}

/**
 * Loads or makes the certificate of a host.
 *
 * @throws Error that names the file, the host and the way out: a file is missing, not readable or not what it
 *   should be, the key is another certificate's, a passphrase is needed, an option of `ssl` can not be used
 */
export async function loadTlsMaterial(options: TlsOptions, log: Logger): Promise<TlsMaterial> {
  const { host } = options
  const ssl = options.ssl ?? {}
  const files = await chooseFiles(options, ssl)
  const pair = files === undefined ? await loadOwn(options) : await loadFiles(files, ssl, host)
  const selfSigned = files === undefined
  const notAfter = new Date(pair.x509.validTo)
  if (selfSigned) {
    log.warn(
      'no certificate was found, using a self-signed one: other servers and clients will not trust it',
      {
        host,
        file: pair.source,
        folder: certificatesFolder(options),
      },
    )
  } else warnOf(pair, host, log)

  const dhparam = stringOption(ssl, 'dhparam', host)
  const secure = secureOptions(ssl, host, log)
  if (dhparam !== undefined) {
    secure.dhparam = await read(resolve(options.configDirectory, dhparam), 'ssl.dhparam', host)
  }
  let context: SecureContext
  try {
    context = createSecureContext({
      ...secure,
      cert: pair.certificatePem,
      key: pair.keyPem,
      passphrase: pair.passphrase,
    })
  } catch (error) {
    // Node leaves an error about curves in OpenSSL's queue, where the next key to be read would find it;
    // setting ciphers empties the queue
    createSecureContext()
    // The pair has been checked: what is left are ciphers, curves and DH parameters
    throw new Error(
      `the ssl options of ${host} can not be used (${messageOf(error)}): check ciphers, curve and dhparam`,
    )
  }
  return {
    context,
    certificatePem: pair.certificatePem,
    selfSigned,
    source: selfSigned ? 'self-signed' : pair.source,
    notAfter,
    endPointHash: endPointHash(pair.x509.raw),
  }
}

function certificatesFolder(options: TlsOptions): string {
  return options.certificates ?? join(options.configDirectory, 'certs')
}

async function chooseFiles(options: TlsOptions, ssl: SslTable): Promise<CertificateFiles | undefined> {
  const { host, configDirectory } = options
  const certificate = stringOption(ssl, 'certificate', host)
  const key = stringOption(ssl, 'key', host)
  if (certificate === undefined && key === undefined) {
    return findCertificate(certificatesFolder(options), host)
  }
  if (certificate === undefined) {
    throw new Error(`ssl of ${host} has a key but no certificate: name both files, or neither`)
  }
  if (key === undefined) {
    // As the option `certificate` has it: the key is found by the file's name.
    const path = resolve(configDirectory, certificate)
    const files = await withKey(path)
    if (files !== undefined) return files
    throw new Error(
      `ssl of ${host} has a certificate but no key: name the key too, or put it beside ${path} as a .key file`,
    )
  }
  return { certificate: resolve(configDirectory, certificate), key: resolve(configDirectory, key) }
}

async function loadFiles(files: CertificateFiles, ssl: SslTable, host: string): Promise<KeyPair> {
  const passphrase = stringOption(ssl, 'password', host) ?? stringOption(ssl, 'passphrase', host)
  const certificatePem = await read(files.certificate, 'the certificate', host)
  const keyPem = await read(files.key, 'the key', host)
  const x509 = readCertificate(certificatePem, files.certificate, host)
  const key = readKey(keyPem, files.key, host, passphrase)
  if (!x509.checkPrivateKey(key)) {
    throw new Error(
      `the key ${files.key} of ${host} does not belong to the certificate ${files.certificate}: ` +
        'name the key it was issued for; in a file with a chain the own certificate comes first',
    )
  }
  return { certificatePem, keyPem, passphrase, x509, source: files.certificate }
}

async function read(path: string, what: string, host: string): Promise<string> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code
    if (code === 'ENOENT') {
      throw new Error(`${what} ${path} of ${host} does not exist: correct the path, or put the file there`)
    }
    if (code === 'EACCES' || code === 'EPERM') {
      throw new Error(
        `${what} ${path} of ${host} can not be read: permission is denied; ` +
          `let the user that runs the server (uid ${process.getuid?.() ?? 'unknown'}) read it and its folders`,
      )
    }
    throw new Error(`${what} ${path} of ${host} can not be read: ${messageOf(error)}`)
  }
}

function readCertificate(pem: string, path: string, host: string): X509Certificate {
  try {
    return new X509Certificate(pem)
  } catch (error) {
    throw new Error(
      `${path}, the certificate of ${host}, is no certificate in PEM (${messageOf(error)}): ` +
        'it should begin with -----BEGIN CERTIFICATE-----',
    )
  }
}

function readKey(pem: string, path: string, host: string, passphrase: string | undefined): KeyObject {
  try {
    return createPrivateKey({ key: pem, passphrase })
  } catch (error) {
    if (passphrase === undefined && pem.includes('ENCRYPTED')) {
      throw new Error(`the key ${path} of ${host} is encrypted: set ssl.password, or store the key decrypted`)
    }
    if (passphrase !== undefined && pem.includes('ENCRYPTED')) {
      throw new Error(`the key ${path} of ${host} can not be decrypted: ssl.password is not its passphrase`)
    }
    throw new Error(
      `${path}, the key of ${host}, is no private key in PEM (${messageOf(error)}): ` +
        'it should begin with -----BEGIN PRIVATE KEY-----',
    )
  }
}

function warnOf({ x509, source }: KeyPair, host: string, log: Logger): void {
  const fields = { host, file: source }
  if (matchingName(x509, host) === undefined) {
    log.warn('the certificate does not name the host: other servers and clients will not trust it', {
      ...fields,
      names: x509.subjectAltName ?? x509.subject,
    })
  }
  const notAfter = new Date(x509.validTo)
  const untilEnd = notAfter.getTime() - Date.now()
  if (untilEnd < 0) log.warn('the certificate has expired: renew it and reload', { ...fields, notAfter })
  else if (untilEnd < WARNING_DAYS * DAY_MS) log.warn('the certificate expires soon', { ...fields, notAfter })
  if (Date.parse(x509.validFrom) > Date.now()) {
    log.warn('the certificate is not valid yet: is the clock right?', {
      ...fields,
      notBefore: x509.validFrom,
    })
  }
}

async function loadOwn(options: TlsOptions): Promise<KeyPair> {
  try {
    return await loadSelfSigned(options)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).syscall === undefined) throw error
    throw new Error(
      `${options.host} has no certificate in ${certificatesFolder(options)}, and a self-signed one can not be ` +
        `kept (${messageOf(error)}): put a certificate there, or make ${options.dataPath} writable`,
    )
  }
}

/** The certificate that was made at an earlier start, or a new one, in `DATA/certs`. */
async function loadSelfSigned({ host, dataPath }: TlsOptions): Promise<KeyPair> {
  const folder = join(dataPath, 'certs')
  // A domain is a file name, but for [::1] and what a caller did not prepare
  const base = join(folder, encodeURIComponent(host).replace(/^\./, '%2E'))
  const source = `${base}.crt`
  await mkdir(folder, { recursive: true, mode: 0o700 })
  const keyPem = await keepKey(`${base}.key`, host)
  const key = readKey(keyPem, `${base}.key`, host, undefined)
  if (key.asymmetricKeyDetails?.namedCurve !== 'prime256v1') {
    throw new Error(`the key ${base}.key of ${host} is not on P-256: delete it, and a new one is made`)
  }

  const existing = await readFile(source, 'utf8').catch(() => undefined)
  if (existing !== undefined) {
    const x509 = usableSelfSigned(existing, key, host)
    if (x509 !== undefined) return { certificatePem: existing, keyPem, passphrase: undefined, x509, source }
  }
  // A renewed certificate keeps its key, for those who pinned that
  const certificatePem = makeSelfSigned(host, key)
  await writeWhole(source, certificatePem, 0o644, rename)
  return { certificatePem, keyPem, passphrase: undefined, x509: new X509Certificate(certificatePem), source }
}

function usableSelfSigned(pem: string, key: KeyObject, host: string): X509Certificate | undefined {
  try {
    const x509 = new X509Certificate(pem)
    const lasts = Date.parse(x509.validTo) - Date.now() > RENEWAL_DAYS * DAY_MS
    return lasts && x509.checkPrivateKey(key) && matchingName(x509, host) !== undefined ? x509 : undefined
  } catch {
    return undefined
  }
}

/** The key in the file; makes one if there is none. Of two processes that do, both get the first one's. */
async function keepKey(path: string, host: string): Promise<string> {
  const existing = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined
    throw new Error(`the key ${path} of ${host} can not be read: ${error.message}`)
  })
  if (existing !== undefined) return existing
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const pem = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
  try {
    // link(), unlike rename(), does not replace a file
    await writeWhole(path, pem, 0o600, link)
    return pem
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return readFile(path, 'utf8')
    throw error
  }
}

/** Writes a file that appears under its name complete or not at all. */
async function writeWhole(
  path: string,
  text: string,
  mode: number,
  publish: (from: string, to: string) => Promise<void>,
): Promise<void> {
  const temporary = `${path}.${randomBytes(6).toString('hex')}.new`
  try {
    await writeFile(temporary, text, { mode, flag: 'wx' })
    await publish(temporary, path)
  } finally {
    await rm(temporary, { force: true })
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
