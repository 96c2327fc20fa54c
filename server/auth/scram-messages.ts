/** Reads the client's messages of SCRAM by the grammar of RFC 5802 §7, and nothing beyond it. */

/** Why a message was refused; the text is for the client's developer. */
export class ScramSyntaxError extends Error {}

export interface ClientFirst {
  /** `n`: the client can not bind; `y`: it can, but saw no -PLUS offered; otherwise the type that it uses. */
  binding: 'n' | 'y' | { type: string }
  authzid: string | undefined
  /** As it was sent: what the client's final message has to repeat. */
  gs2Header: string
  username: string
  nonce: string
  /** The part that goes into the AuthMessage. */
  bare: string
}

export interface ClientFinal {
  channelBinding: Buffer
  nonce: string
  proof: Buffer
  /** The part that goes into the AuthMessage. */
  withoutProof: string
}

/** Characters of a client's nonce. */
const MAX_NONCE_LENGTH = 256
const MAX_EXTENSIONS = 16

/** The attributes of RFC 5802 §5.1, which can not come as extensions. */
const RESERVED = 'acimnprsve'

/** @throws ScramSyntaxError */
export function parseClientFirst(text: string): ClientFirst {
  const firstComma = text.indexOf(',')
  const secondComma = text.indexOf(',', firstComma + 1)
  if (firstComma === -1 || secondComma === -1) throw new ScramSyntaxError('the GS2 header is not complete')
  const flag = text.slice(0, firstComma)
  const authzid = text.slice(firstComma + 1, secondComma)
  const bare = text.slice(secondComma + 1)

  const [user = '', nonce = '', ...extensions] = bare.split(',')
  // RFC 5802 §5.1: m is for mandatory extensions, of which we know none.
  if (user.startsWith('m=')) throw new ScramSyntaxError('a mandatory extension (m=) is not known')
  checkExtensions(extensions)
  return {
    binding: parseFlag(flag),
    authzid: authzid === '' ? undefined : decodeName(attribute(authzid, 'a')),
    gs2Header: `${flag},${authzid},`,
    username: decodeName(attribute(user, 'n')),
    nonce: checkNonce(attribute(nonce, 'r'), MAX_NONCE_LENGTH),
    bare,
  }
}

/** @throws ScramSyntaxError */
export function parseClientFinal(text: string): ClientFinal {
  const proofComma = text.lastIndexOf(',')
  if (proofComma === -1) throw new ScramSyntaxError('the proof (p=) is missing')
  const withoutProof = text.slice(0, proofComma)
  const [binding = '', nonce = '', ...extensions] = withoutProof.split(',')
  checkExtensions(extensions)
  return {
    channelBinding: decodeBase64(attribute(binding, 'c')),
    nonce: checkNonce(attribute(nonce, 'r'), 2 * MAX_NONCE_LENGTH),
    proof: decodeBase64(attribute(text.slice(proofComma + 1), 'p')),
    withoutProof,
  }
}

function parseFlag(flag: string): ClientFirst['binding'] {
  if (flag === 'n' || flag === 'y') return flag
  const type = attribute(flag, 'p')
  if (!/^[A-Za-z0-9.-]{1,64}$/.test(type)) throw new ScramSyntaxError('p= has no name of a channel binding')
  return { type }
}

/** The value of `name=value`. */
function attribute(text: string, name: string): string {
  if (!text.startsWith(`${name}=`)) throw new ScramSyntaxError(`${name}= is missing, or not in its place`)
  return text.slice(2)
}

/** saslname: no NUL, and `=` only in =2C and =3D. */
function decodeName(text: string): string {
  if (!/^(?:[^\0=,]|=2C|=3D)+$/.test(text))
    throw new ScramSyntaxError('a name is empty or not escaped as it has to be')
  return text.replaceAll('=2C', ',').replaceAll('=3D', '=')
}

function checkNonce(nonce: string, limit: number): string {
  if (!/^[\x21-\x2b\x2d-\x7e]+$/.test(nonce))
    throw new ScramSyntaxError('the nonce is empty or not printable ASCII')
  if (nonce.length > limit) throw new ScramSyntaxError('the nonce is too long')
  return nonce
}

/** Extensions that are not mandatory are let through unread. */
function checkExtensions(extensions: readonly string[]): void {
  if (extensions.length > MAX_EXTENSIONS) throw new ScramSyntaxError('too many extensions')
  for (const extension of extensions) {
    if (!/^[A-Za-z]=[^\0]+$/.test(extension) || RESERVED.includes(extension.charAt(0))) {
      throw new ScramSyntaxError('an attribute is out of place or malformed')
    }
  }
}

function decodeBase64(text: string): Buffer {
  const bytes = Buffer.from(text, 'base64')
  // Buffer skips what is no Base64; only what comes out the same was right.
  if (text === '' || bytes.toString('base64') !== text) throw new ScramSyntaxError('a value is not Base64')
  return bytes
}
