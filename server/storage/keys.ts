/**
 * Database keys: host, store, user and (in maps) key, each as one component.
 *
 * A component is a tag, bytes, and the end mark 00 01:
 *
 *     01                 00 01   nobody: the host itself
 *     02  UTF-8          00 01   a name, in which 00 is written 00 FF
 *     03  SHA-256        00 01   a name too long for that; the record's value tells it
 *
 * No component is the beginning of another, so no two paths make the same key, and all that begins with the
 * same components lies side by side.
 */

import { createHash } from 'node:crypto'

const TAG_NULL = 1
const TAG_NAME = 2
const TAG_HASH = 3
const NUL = 0
const NUL_ESCAPED = 0xff
const END = 1
const HASH_LENGTH = 32

/** Four components of this length fit into LMDB's limit of 1978 bytes for a key. */
const NAME_LIMIT = 400

/** Encodes a path of names into a key, or the beginning of keys. */
export function encodeKey(path: readonly (string | null)[]): Buffer {
  return Buffer.concat(path.map(encodeComponent))
}

/** Encodes the path of a key that is known already, and one name more. */
export function encodeUnder(prefix: Buffer, name: string | null): Buffer {
  if (name === null || name.length * 3 > NAME_LIMIT || name.includes('\x00')) {
    return Buffer.concat([prefix, encodeComponent(name)])
  }
  const key = Buffer.allocUnsafe(prefix.length + name.length * 3 + 3)
  let end = prefix.copy(key)
  key[end++] = TAG_NAME
  end += key.write(name, end)
  key[end++] = NUL
  key[end++] = END
  return key.subarray(0, end)
}

/** Whether this name is kept as a hash, so that the value has to tell it. */
export function isHashed(name: string | null): boolean {
  // A UTF-16 unit makes three bytes at most (an escaped NUL makes two).
  return name !== null && name.length * 3 > NAME_LIMIT && encodeComponent(name)[0] === TAG_HASH
}

function encodeComponent(name: string | null): Buffer {
  if (name === null) return Buffer.from([TAG_NULL, NUL, END])
  let text = Buffer.from(name)
  if (text.includes(NUL)) text = Buffer.from(text.toString('latin1').replaceAll('\x00', '\x00\xff'), 'latin1')
  if (text.length > NAME_LIMIT) {
    const digest = createHash('sha256').update(name).digest()
    return Buffer.concat([Buffer.from([TAG_HASH]), digest, Buffer.from([NUL, END])])
  }
  return Buffer.concat([Buffer.from([TAG_NAME]), text, Buffer.from([NUL, END])])
}

/** One component of a key, as it was found. */
export interface Component {
  /** `undefined`: only a hash of the name is there; the record's value has it. */
  name: string | null | undefined
  /** The offset after it. */
  end: number
}

/** Reads the component at an offset of a key; `undefined` if there is none that we could have written. */
export function decodeComponent(key: Buffer, offset: number): Component | undefined {
  const tag = key[offset]
  if (tag === TAG_HASH) {
    const end = offset + 1 + HASH_LENGTH + 2
    return end <= key.length ? { name: undefined, end } : undefined
  }
  if (tag !== TAG_NULL && tag !== TAG_NAME) return undefined
  let end = key.indexOf(NUL, offset + 1)
  while (end !== -1 && key[end + 1] === NUL_ESCAPED) end = key.indexOf(NUL, end + 2)
  if (end === -1 || key[end + 1] !== END) return undefined
  if (tag === TAG_NULL) return { name: null, end: end + 2 }
  let text = key.subarray(offset + 1, end)
  if (text.includes(NUL)) text = Buffer.from(text.toString('latin1').replaceAll('\x00\xff', '\x00'), 'latin1')
  return { name: text.toString(), end: end + 2 }
}

/** The first possible key that does not begin with these components. */
export function after(prefix: Buffer): Buffer {
  const end = Buffer.from(prefix)
  end[end.length - 1] = END + 1
  return end
}

/** Where the components that are names (not null) begin and end, under a prefix. */
export function namesUnder(prefix: Buffer): { start: Buffer; end: Buffer } {
  return {
    start: Buffer.concat([prefix, Buffer.from([TAG_NAME])]),
    end: Buffer.concat([prefix, Buffer.from([TAG_HASH + 1])]),
  }
}
