// Certificates: where they are found, what is said when they do not fit, and the self-signed ones.
import { execFileSync } from 'node:child_process'
import { createHash, createPrivateKey, generateKeyPairSync, X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { connect, type PeerCertificate, TLSSocket } from 'node:tls'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Logger } from '../../server/log.ts'
import { loadTlsMaterial, type TlsMaterial, type TlsOptions } from '../../server/net/certificates.ts'
import { readElements } from '../../server/net/der.ts'
import { endPointHash } from '../../server/net/end-point.ts'
import { makeSelfSigned } from '../../server/net/selfsigned.ts'
import { unprivileged } from '../shared/unprivileged.ts'

const DAY_MS = 24 * 3600 * 1000

let folder: string
let warnings: string[]
const log: Logger = {
  debug() {},
  info() {},
  warn: (message, fields) => warnings.push(`${message} ${JSON.stringify(fields)}`),
  error() {},
  child: () => log,
  debugEnabled: false,
}

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'legate-certificates-'))
  warnings = []
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

function load(host: string, more: Partial<TlsOptions> = {}): Promise<TlsMaterial> {
  return loadTlsMaterial({ host, dataPath: join(folder, 'data'), configDirectory: folder, ...more }, log)
}

function newKey(): string {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  return privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
}

/** Puts a certificate that names `name` and its key into files below the folder. */
function put(name: string, certificate: string, key: string, now = new Date()): string {
  const keyPem = newKey()
  const pem = makeSelfSigned(name, createPrivateKey(keyPem), now)
  for (const [file, text] of [
    [key, keyPem],
    [certificate, pem],
  ] as const) {
    mkdirSync(dirname(join(folder, file)), { recursive: true })
    writeFileSync(join(folder, file), text, { flag: 'a' })
  }
  return pem
}

function openssl(...parameters: string[]): string | undefined {
  try {
    return execFileSync('openssl', parameters, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}
const hasOpenssl = openssl('version') !== undefined

describe('a self-signed certificate', () => {
  it('is made, kept, warned of, and the same at the second start', async () => {
    const first = await load('capulet.lit')
    expect(first).toMatchObject({ selfSigned: true, source: 'self-signed' })
    expect(warnings).toHaveLength(1)
    expect(warnings[0]).toContain('self-signed')
    expect(warnings[0]).toContain('capulet.lit')
    const kept = join(folder, 'data', 'certs')
    expect(readdirSync(kept).sort()).toEqual(['capulet.lit.crt', 'capulet.lit.key'])
    expect(statSync(join(kept, 'capulet.lit.key')).mode & 0o777).toBe(0o600)
    const second = await load('capulet.lit')
    expect(second.certificatePem).toBe(first.certificatePem)
  })

  it('says what RFC 5280 and RFC 6120 §13.7.1 want of it', async () => {
    const x509 = new X509Certificate((await load('capulet.lit')).certificatePem)
    expect(x509.subject).toBe('CN=capulet.lit')
    expect(x509.issuer).toBe(x509.subject)
    expect(x509.ca).toBe(false)
    expect(x509.verify(x509.publicKey)).toBe(true)
    expect(x509.checkHost('capulet.lit', { subject: 'never' })).toBe('capulet.lit')
    expect(x509.checkHost('montague.lit')).toBeUndefined()
    const days = (Date.parse(x509.validTo) - Date.now()) / DAY_MS
    expect(days).toBeGreaterThan(364)
    expect(days).toBeLessThan(366)
    expect(Date.parse(x509.validFrom)).toBeLessThan(Date.now())
  })

  it.runIf(hasOpenssl)('is read by openssl without complaint', async () => {
    const { certificatePem } = await load('bücher.example')
    const file = join(folder, 'c.pem')
    writeFileSync(file, certificatePem)
    const text = openssl('x509', '-in', file, '-noout', '-text')
    expect(text).toContain('DNS:xn--bcher-kva.example')
    expect(text).toContain('ecdsa-with-SHA256')
    expect(text).toContain('CA:FALSE')
    expect(text).toContain('Digital Signature')
    expect(text).toContain('TLS Web Server Authentication')
    expect(openssl('verify', '-x509_strict', '-purpose', 'sslserver', '-CAfile', file, file)).toContain('OK')
    expect(text).toContain('XmppAddr')
  })

  it.each([
    ['127.0.0.1', '127.0.0.1'],
    ['[::1]', '::1'],
    ['[2001:db8::5:6]', '2001:db8::5:6'],
    ['[1:2:3:4:5:6:7:8]', '1:2:3:4:5:6:7:8'],
  ])('for %s has an address', async (host, address) => {
    const { certificatePem } = await load(host)
    expect(new X509Certificate(certificatePem).checkIP(address)).toBe(address)
  })

  it('may have a name longer than a common name can be', async () => {
    const host = `${'a'.repeat(60)}.${'b'.repeat(60)}.example`
    const x509 = new X509Certificate((await load(host)).certificatePem)
    expect(x509.checkHost(host)).toBe(host)
    expect(x509.subject).toHaveLength('CN='.length + 64)
  })

  it('after 2049 is dated in four digits', () => {
    const pem = makeSelfSigned('a.example', createPrivateKey(newKey()), new Date('2049-12-31T00:00:00Z'))
    expect(new Date(new X509Certificate(pem).validTo).getUTCFullYear()).toBe(2050)
  })

  it.each([
    ['expired', 400],
    ['about to expire', 340],
  ])('that is %s is made anew, with its key', async (_what, daysAgo) => {
    await load('capulet.lit')
    const file = join(folder, 'data', 'certs', 'capulet.lit')
    const key = readFileSync(`${file}.key`, 'utf8')
    const aged = makeSelfSigned('capulet.lit', createPrivateKey(key), new Date(Date.now() - daysAgo * DAY_MS))
    writeFileSync(`${file}.crt`, aged)
    const renewed = await load('capulet.lit')
    expect(renewed.certificatePem).not.toBe(aged)
    expect(renewed.notAfter.getTime()).toBeGreaterThan(Date.now() + 300 * DAY_MS)
    expect(readFileSync(`${file}.key`, 'utf8')).toBe(key)
    expect(readFileSync(`${file}.crt`, 'utf8')).toBe(renewed.certificatePem)
  })

  it('that is damaged is made anew; a damaged key is the operator’s to delete', async () => {
    await load('capulet.lit')
    const file = join(folder, 'data', 'certs', 'capulet.lit')
    writeFileSync(`${file}.crt`, 'nonsense')
    expect((await load('capulet.lit')).selfSigned).toBe(true)
    writeFileSync(`${file}.key`, 'nonsense')
    await expect(load('capulet.lit')).rejects.toThrow(`${file}.key`)
  })

  it('that can not be kept says so', async () => {
    writeFileSync(join(folder, 'data'), 'a file where the folder should be')
    await expect(load('capulet.lit')).rejects.toThrow(/capulet\.lit has no certificate in .*can not be kept/)
  })

  it('is one key for processes that start at the same time', async () => {
    const made = await Promise.all([1, 2, 3, 4].map(() => load('capulet.lit')))
    const keys = made.map(({ certificatePem }) =>
      new X509Certificate(certificatePem).publicKey.export({ type: 'spki', format: 'pem' }),
    )
    expect(new Set(keys).size).toBe(1)
    expect(readdirSync(join(folder, 'data', 'certs'))).toHaveLength(2)
  })
})

describe('a handshake', () => {
  async function handshake(
    material: TlsMaterial,
    host: string,
    maxVersion: 'TLSv1.1' | 'TLSv1.2' | 'TLSv1.3',
  ) {
    const server = createServer((raw) => {
      const socket = new TLSSocket(raw, { isServer: true, secureContext: material.context })
      socket.on('error', () => {}).on('secure', () => socket.end())
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const client = connect({
      port: (server.address() as AddressInfo).port,
      host: '127.0.0.1',
      servername: host,
      ca: material.certificatePem,
      minVersion: 'TLSv1',
      maxVersion,
    })
    try {
      await once(client, 'secureConnect')
      return { protocol: client.getProtocol(), certificate: client.getPeerCertificate() as PeerCertificate }
    } finally {
      client.destroy()
      server.close()
    }
  }

  it('is done with it, verified, by TLS 1.2 and 1.3', async () => {
    const material = await load('capulet.lit')
    const newest = await handshake(material, 'capulet.lit', 'TLSv1.3')
    expect(newest.protocol).toBe('TLSv1.3')
    expect(createHash('sha256').update(newest.certificate.raw).digest()).toEqual(material.endPointHash)
    expect((await handshake(material, 'capulet.lit', 'TLSv1.2')).protocol).toBe('TLSv1.2')
  })

  it('is not done by TLS 1.1', async () => {
    await expect(handshake(await load('capulet.lit'), 'capulet.lit', 'TLSv1.1')).rejects.toThrow()
  })

  it('is done as ssl.protocol and ssl.ciphers say', async () => {
    const only13 = await load('capulet.lit', { ssl: { protocol: 'tlsv1_3' } })
    await expect(handshake(only13, 'capulet.lit', 'TLSv1.2')).rejects.toThrow()
    const only12 = await load('capulet.lit', { ssl: { protocol: 'tlsv1_2', ciphers: 'HIGH+kEECDH:!aNULL' } })
    expect((await handshake(only12, 'capulet.lit', 'TLSv1.3')).protocol).toBe('TLSv1.2')
    const curve = await load('capulet.lit', {
      ssl: { curveslist: ['X25519', 'P-256'], ciphers: ['HIGH', '!PSK'] },
    })
    expect((await handshake(curve, 'capulet.lit', 'TLSv1.3')).protocol).toBe('TLSv1.3')
  })
})

describe('files in the folder of certificates', () => {
  it.each([
    ['HOST.crt and HOST.key', 'certs/capulet.lit.crt', 'certs/capulet.lit.key'],
    [
      'HOST/fullchain.pem and privkey.pem',
      'certs/capulet.lit/fullchain.pem',
      'certs/capulet.lit/privkey.pem',
    ],
    ['certbot’s live/HOST', 'certs/live/capulet.lit/fullchain.pem', 'certs/live/capulet.lit/privkey.pem'],
    ['any name, by what the certificate says', 'certs/tls/whatever.crt', 'certs/tls/whatever.key'],
    ['one file with both', 'certs/capulet.lit.pem', 'certs/capulet.lit.pem'],
    ['HOST.pem and HOST.key', 'certs/capulet.lit.pem', 'certs/capulet.lit.key'],
  ])('%s', async (_layout, certificate, key) => {
    const pem = put('capulet.lit', certificate, key)
    const material = await load('capulet.lit')
    expect(material).toMatchObject({ selfSigned: false, source: join(folder, certificate) })
    expect(material.certificatePem).toContain(pem)
    expect(warnings).toEqual([])
  })

  it('links, as certbot makes them', async () => {
    put('capulet.lit', 'archive/fullchain1.pem', 'archive/privkey1.pem')
    const live = join(folder, 'certs', 'live', 'capulet.lit')
    mkdirSync(live, { recursive: true })
    symlinkSync('../../../archive/fullchain1.pem', join(live, 'fullchain.pem'))
    symlinkSync('../../../archive/privkey1.pem', join(live, 'privkey.pem'))
    expect((await load('capulet.lit')).source).toBe(join(live, 'fullchain.pem'))
  })

  it('a folder elsewhere, and a single file', async () => {
    put('capulet.lit', 'elsewhere/x.crt', 'elsewhere/x.key')
    expect((await load('capulet.lit')).selfSigned).toBe(true)
    expect((await load('capulet.lit', { certificates: join(folder, 'elsewhere') })).selfSigned).toBe(false)
    expect((await load('capulet.lit', { certificates: join(folder, 'elsewhere/x.crt') })).selfSigned).toBe(
      false,
    )
  })

  it('a wildcard is for one label more, and gives way to the exact name', async () => {
    put('*.capulet.lit', 'certs/wild.crt', 'certs/wild.key')
    const wild = join(folder, 'certs', 'wild.crt')
    expect((await load('conference.capulet.lit')).source).toBe(wild)
    expect(warnings).toEqual([])
    expect((await load('capulet.lit')).selfSigned).toBe(true)
    put('conference.capulet.lit', 'certs/a.crt', 'certs/a.key')
    expect((await load('conference.capulet.lit')).source).toBe(join(folder, 'certs', 'a.crt'))
    expect((await load('pubsub.capulet.lit')).source).toBe(wild)
  })

  it('of two that name the host, the one that is valid longer', async () => {
    put('capulet.lit', 'certs/new.crt', 'certs/new.key')
    put('capulet.lit', 'certs/old.crt', 'certs/old.key', new Date(Date.now() - 100 * DAY_MS))
    expect((await load('capulet.lit')).source).toBe(join(folder, 'certs', 'new.crt'))
  })

  it('for a host that none names, that of the domain above it, with a warning', async () => {
    put('capulet.lit', 'certs/capulet.lit.crt', 'certs/capulet.lit.key')
    const material = await load('pubsub.capulet.lit')
    expect(material.source).toBe(join(folder, 'certs', 'capulet.lit.crt'))
    expect(warnings).toHaveLength(1)
    expect(warnings[0]).toContain('does not name the host')
    expect((await load('montague.lit')).selfSigned).toBe(true)
  })

  it('an expired one of the host’s name is used, with a warning', async () => {
    put('capulet.lit', 'certs/capulet.lit.crt', 'certs/capulet.lit.key', new Date(Date.now() - 400 * DAY_MS))
    expect((await load('capulet.lit')).selfSigned).toBe(false)
    expect(warnings.join()).toContain('has expired')
  })

  it('files that are no certificates are passed over', async () => {
    mkdirSync(join(folder, 'certs'))
    writeFileSync(join(folder, 'certs', 'x.crt'), 'nonsense')
    writeFileSync(join(folder, 'certs', 'x.key'), 'nonsense')
    expect((await load('capulet.lit')).selfSigned).toBe(true)
  })
})

describe('the ssl option', () => {
  const ssl = { certificate: 'a.crt', key: 'a.key' }

  it('names files beside the configuration', async () => {
    put('capulet.lit', 'a.crt', 'a.key')
    expect((await load('capulet.lit', { ssl })).source).toBe(join(folder, 'a.crt'))
  })

  it('with a key of another certificate', async () => {
    put('capulet.lit', 'a.crt', 'a.key')
    writeFileSync(join(folder, 'a.key'), newKey())
    const error = await load('capulet.lit', { ssl }).catch((reason: Error) => reason.message)
    expect(error).toContain(join(folder, 'a.key'))
    expect(error).toContain(join(folder, 'a.crt'))
    expect(error).toContain('capulet.lit does not belong to')
  })

  it('with files that are missing or something else', async () => {
    await expect(load('capulet.lit', { ssl })).rejects.toThrow(
      `${join(folder, 'a.crt')} of capulet.lit does not exist`,
    )
    writeFileSync(join(folder, 'a.crt'), 'x')
    await expect(load('capulet.lit', { ssl })).rejects.toThrow(
      `${join(folder, 'a.key')} of capulet.lit does not exist`,
    )
    writeFileSync(join(folder, 'a.key'), 'x')
    await expect(load('capulet.lit', { ssl })).rejects.toThrow('no certificate in PEM')
    put('capulet.lit', 'b.crt', 'b.key')
    await expect(load('capulet.lit', { ssl: { certificate: 'b.crt', key: 'a.key' } })).rejects.toThrow(
      'no private key in PEM',
    )
    copyFileSync(join(folder, 'b.crt'), join(folder, 'alone.crt'))
    await expect(load('capulet.lit', { ssl: { certificate: 'alone.crt' } })).rejects.toThrow('no key')
    // The key beside it, as the option `certificate` has it.
    const { source } = await load('capulet.lit', { ssl: { certificate: 'b.crt' } })
    expect(source).toBe(join(folder, 'b.crt'))
    await expect(load('capulet.lit', { ssl: { key: 'b.key' } })).rejects.toThrow('no certificate')
    await expect(load('capulet.lit', { ssl: { certificate: 'b.crt', key: 7 } })).rejects.toThrow(
      'ssl.key of capulet.lit',
    )
  })

  it('with a folder where a file should be', async () => {
    await expect(load('capulet.lit', { ssl: { certificate: '.', key: '.' } })).rejects.toThrow(
      'can not be read',
    )
  })

  it('with a file that may not be read', async () => {
    put('capulet.lit', 'a.crt', 'a.key')
    chmodSync(join(folder, 'a.key'), 0)
    await unprivileged(folder, () =>
      expect(load('capulet.lit', { ssl })).rejects.toThrow('permission is denied'),
    )
  })

  it('with an encrypted key', async () => {
    put('capulet.lit', 'a.crt', 'a.key')
    const key = createPrivateKey(readFileSync(join(folder, 'a.key')))
    writeFileSync(
      join(folder, 'a.key'),
      key.export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'wherefore' }),
    )
    await expect(load('capulet.lit', { ssl })).rejects.toThrow('set ssl.password')
    await expect(load('capulet.lit', { ssl: { ...ssl, password: 'wrong' } })).rejects.toThrow(
      'is not its passphrase',
    )
    expect((await load('capulet.lit', { ssl: { ...ssl, password: 'wherefore' } })).selfSigned).toBe(false)
  })

  it('with versions that are not to be had', async () => {
    await load('capulet.lit', { ssl: { protocol: 'tlsv1+' } })
    expect(warnings.join()).toContain('RFC 8996')
    await expect(load('capulet.lit', { ssl: { protocol: 'tlsv1' } })).rejects.toThrow(
      'ssl.protocol of capulet.lit',
    )
    await expect(load('capulet.lit', { ssl: { protocol: 'tls1.2' } })).rejects.toThrow('tlsv1_2+')
  })

  it('with ciphers, curves or DH parameters that are none', async () => {
    await expect(load('capulet.lit', { ssl: { ciphers: 'NOSUCH', ciphersuites: [] } })).rejects.toThrow(
      'capulet.lit',
    )
    await expect(load('capulet.lit', { ssl: { curve: 'nosuch' } })).rejects.toThrow('capulet.lit')
    await expect(load('capulet.lit', { ssl: { dhparam: 'nosuch.pem' } })).rejects.toThrow('ssl.dhparam')
  })

  it('says which of its parts are not used', async () => {
    await load('capulet.lit', { ssl: { verify: 'peer' } })
    expect(warnings.join()).toContain('"option":"verify"')
  })
})

describe('tls-server-end-point', () => {
  it.runIf(hasOpenssl).each([
    ['ECDSA with SHA-384', ['ec', '-pkeyopt', 'ec_paramgen_curve:P-384', '-sha384'], 'sha384'],
    ['ECDSA with SHA-1', ['ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-sha1'], 'sha256'],
    ['RSA with SHA-512', ['rsa:2048', '-sha512'], 'sha512'],
    ['RSASSA-PSS with SHA-384', ['rsa:2048', '-sha384', '-sigopt', 'rsa_padding_mode:pss'], 'sha384'],
    ['Ed25519', ['ed25519'], 'sha256'],
  ])('of %s', (_algorithm, parameters, hash) => {
    const [key, pem] = [join(folder, 'k.pem'), join(folder, 'c.pem')]
    openssl('req', '-x509', '-nodes', '-subj', '/CN=a', '-keyout', key, '-out', pem, '-newkey', ...parameters)
    const { raw } = new X509Certificate(readFileSync(pem))
    expect(endPointHash(raw)).toEqual(createHash(hash).update(raw).digest())
  })

  it('refuses what is cut short or no certificate', () => {
    const { raw } = new X509Certificate(makeSelfSigned('a.example', createPrivateKey(newKey())))
    for (let length = 0; length < raw.length; length++) {
      expect(() => endPointHash(raw.subarray(0, length))).toThrow(RangeError)
    }
    expect(() => readElements(Buffer.from('3085ffffffffff', 'hex'))).toThrow(RangeError)
    expect(() => readElements(Buffer.from('3080', 'hex'))).toThrow(RangeError)
    expect(() => readElements(Buffer.from('3f8101', 'hex'))).toThrow(RangeError)
    expect(() => readElements(Buffer.from('30', 'hex'))).toThrow(RangeError)
  })
})
