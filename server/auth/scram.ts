/** The keys of SCRAM (RFC 5802 §3) and the proofs made with them. */

import { createHash, createHmac, pbkdf2, randomBytes, timingSafeEqual } from 'node:crypto'
import { WorkLimit } from './work-limit.ts'

/** The hashes that SCRAM is offered with: RFC 5802 and RFC 7677. */
export type ScramHash = 'SHA-1' | 'SHA-256'

export const SCRAM_HASHES: readonly ScramHash[] = ['SHA-1', 'SHA-256']

/** What a server keeps instead of the password. `salt`, `storedKey` and `serverKey` are Base64. */
export interface ScramKeys {
  salt: string
  iterations: number
  storedKey: string
  serverKey: string
}

/** Bytes of a new salt. */
export const SALT_LENGTH = 16

const DIGESTS = { 'SHA-1': { name: 'sha1', length: 20 }, 'SHA-256': { name: 'sha256', length: 32 } } as const

/** The length of the hash, in bytes. */
export function hashLength(hash: ScramHash): number {
  return DIGESTS[hash].length
}

export function hmac(hash: ScramHash, key: Buffer, text: string | Buffer): Buffer {
  return createHmac(DIGESTS[hash].name, key).update(text).digest()
}

export function digest(hash: ScramHash, bytes: Buffer): Buffer {
  return createHash(DIGESTS[hash].name).update(bytes).digest()
}

/**
 * PBKDF2 runs on libuv's threads, 4 unless UV_THREADPOOL_SIZE says otherwise, which also look up host names
 * and commit to the disk: half of them are left for that, however many people log in at once.
 */
const work = new WorkLimit(
  Math.max(1, Math.floor((Number(process.env['UV_THREADPOOL_SIZE']) || 4) / 2)),
  1000,
)

/**
 * Derives the keys of a password: some milliseconds of another thread for 10000 iterations.
 *
 * @param password already prepared with SASLprep
 * @param salt random bytes; new ones if it is left out
 * @throws WorkLimitError if too many derivations wait
 */
export function deriveKeys(
  hash: ScramHash,
  password: string,
  iterations: number,
  salt: Buffer = randomBytes(SALT_LENGTH),
): Promise<ScramKeys> {
  const { name, length } = DIGESTS[hash]
  return work.run(
    () =>
      new Promise<ScramKeys>((resolve, reject) => {
        pbkdf2(password, salt, iterations, length, name, (error, saltedPassword) => {
          if (error !== null) return reject(error)
          resolve({
            salt: salt.toString('base64'),
            iterations,
            storedKey: digest(hash, hmac(hash, saltedPassword, 'Client Key')).toString('base64'),
            serverKey: hmac(hash, saltedPassword, 'Server Key').toString('base64'),
          })
        })
      }),
  )
}

/**
 * Whether a client's proof is right, in a time that does not tell how wrong it is.
 *
 * @param authMessage the AuthMessage of RFC 5802 §3
 */
export function verifyProof(hash: ScramHash, keys: ScramKeys, authMessage: string, proof: Buffer): boolean {
  const storedKey = Buffer.from(keys.storedKey, 'base64')
  const signature = hmac(hash, storedKey, authMessage)
  if (proof.length !== signature.length || storedKey.length !== signature.length) return false
  const clientKey = Buffer.from(proof.map((byte, i) => byte ^ signature[i]!))
  return timingSafeEqual(digest(hash, clientKey), storedKey)
}

/** The ServerSignature of RFC 5802 §3. */
export function serverSignature(hash: ScramHash, keys: ScramKeys, authMessage: string): Buffer {
  return hmac(hash, Buffer.from(keys.serverKey, 'base64'), authMessage)
}
