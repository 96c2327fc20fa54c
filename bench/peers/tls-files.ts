// The key and the certificate that all servers of a run present.
import { generateKeyPairSync } from 'node:crypto'
import { existsSync } from 'node:fs'
import { rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { makeSelfSigned } from '../../server/net/selfsigned.ts'
import { HOST } from '../load/stanzas.ts'

/**
 * Files in PEM with a key and a self-signed certificate for HOST, made at the first call for that folder. They are
 * ECDSA on P-256, which is what certbot asks Let's Encrypt for unless told otherwise.
 */
export async function tlsFiles(directory: string): Promise<{ key: string; certificate: string }> {
  const files = { key: join(directory, 'key.pem'), certificate: join(directory, 'certificate.pem') }
  if (existsSync(files.certificate)) return files
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  await writeFile(files.key, privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 })
  // The certificate is there last and whole: where it is, the key is too.
  const making = `${files.certificate}.new`
  await writeFile(making, makeSelfSigned(HOST, privateKey))
  await rename(making, files.certificate)
  return files
}
