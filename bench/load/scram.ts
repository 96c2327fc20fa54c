// SCRAM-SHA-1 (RFC 5802) as a client does it that remembers its salted passwords.
import { createHash, createHmac, pbkdf2Sync, randomBytes } from 'node:crypto'

/** What a client keeps instead of its password; costly to make, so it is made once for each salt. */
interface Keys {
  client: Buffer
  stored: Buffer
  server: Buffer
}

const KEY_LENGTH = 20
const remembered = new Map<string, Keys>()

/** One authentication. */
export class Scram {
  private readonly password: string
  private readonly bare: string
  private readonly nonce: string
  private serverKey: Buffer | undefined
  private authMessage = ''

  constructor(user: string, password: string) {
    this.password = password
    this.nonce = randomBytes(18).toString('base64')
    this.bare = `n=${user},r=${this.nonce}`
  }

  /** The client's first message, in base64. */
  first(): string {
    return Buffer.from(`n,,${this.bare}`, 'latin1').toString('base64')
  }

  /**
   * The client's final message, in base64.
   * @param challenge the server's first message, in base64
   * @throws Error when the challenge is none, or not for this client
   */
  final(challenge: string): string {
    const text = Buffer.from(challenge, 'base64').toString('latin1')
    const [, nonce, salt, iterations] = /^r=([^,]+),s=([^,]+),i=(\d+)$/.exec(text) ?? []
    if (nonce === undefined || !nonce.startsWith(this.nonce)) throw new Error(`no SCRAM challenge: ${text}`)
    const keys = keysOf(this.password, salt!, Number(iterations))
    const bare = `c=biws,r=${nonce}`
    this.authMessage = `${this.bare},${text},${bare}`
    const proof = hmac(keys.stored, this.authMessage)
    for (let at = 0; at < KEY_LENGTH; at++) proof[at]! ^= keys.client[at]!
    this.serverKey = keys.server
    return Buffer.from(`${bare},p=${proof.toString('base64')}`, 'latin1').toString('base64')
  }

  /**
   * Whether the server knows the password, too.
   * @param success its final message, in base64
   */
  verifies(success: string): boolean {
    const signature = hmac(this.serverKey!, this.authMessage).toString('base64')
    return Buffer.from(success, 'base64').toString('latin1') === `v=${signature}`
  }
}

function keysOf(password: string, salt: string, iterations: number): Keys {
  const name = `${salt} ${iterations} ${password}`
  let keys = remembered.get(name)
  if (keys === undefined) {
    const salted = pbkdf2Sync(password, Buffer.from(salt, 'base64'), iterations, KEY_LENGTH, 'sha1')
    const client = hmac(salted, 'Client Key')
    const stored = createHash('sha1').update(client).digest()
    keys = { client, stored, server: hmac(salted, 'Server Key') }
    remembered.set(name, keys)
  }
  return keys
}

function hmac(key: Buffer, text: string): Buffer {
  return createHmac('sha1', key).update(text).digest()
}
