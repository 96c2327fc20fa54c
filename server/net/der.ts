// The little of DER (X.690) that certificates need here: writing one shape of them, finding a field in any.

const SEQUENCE = 0x30
const OBJECT_IDENTIFIER = 0x06

/** An element with its tag and length; the contents are joined. */
export function der(tag: number, ...contents: Uint8Array[]): Buffer {
  const body = Buffer.concat(contents)
  if (body.length < 0x80) return Buffer.concat([Buffer.from([tag, body.length]), body])
  const length: number[] = []
  for (let rest = body.length; rest > 0; rest >>>= 8) length.unshift(rest & 0xff)
  return Buffer.concat([Buffer.from([tag, 0x80 | length.length, ...length]), body])
}

export function sequence(...contents: Uint8Array[]): Buffer {
  return der(SEQUENCE, ...contents)
}

/** An object identifier in dotted form, like `2.5.4.3`. */
export function objectIdentifier(dotted: string): Buffer {
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number)
  const bytes: number[] = []
  for (const arc of [first * 40 + second, ...rest]) {
    const groups = [arc % 128]
    for (let high = Math.floor(arc / 128); high > 0; high = Math.floor(high / 128)) {
      groups.unshift((high % 128) | 0x80)
    }
    bytes.push(...groups)
  }
  return der(OBJECT_IDENTIFIER, Buffer.from(bytes))
}

export interface DerElement {
  tag: number
  contents: Buffer
}

/**
 * The elements that stand one after another in `bytes`, the first `limit` of them.
 *
 * @throws RangeError if an element reaches beyond the end, or has a tag or length that certificates do not have
 */
export function readElements(bytes: Buffer, limit = 16): DerElement[] {
  const elements: DerElement[] = []
  let offset = 0
  while (offset < bytes.length && elements.length < limit) {
    const tag = bytes.readUInt8(offset)
    if ((tag & 0x1f) === 0x1f) throw new RangeError('DER: a tag of several bytes')
    let length = bytes.readUInt8(offset + 1)
    let start = offset + 2
    if (length >= 0x80) {
      const size = length & 0x7f
      if (size === 0 || size > 4) throw new RangeError('DER: a length of no or too many bytes')
      length = bytes.readUIntBE(start, size)
      start += size
    }
    if (start + length > bytes.length) throw new RangeError('DER: an element is longer than what holds it')
    elements.push({ tag, contents: bytes.subarray(start, start + length) })
    offset = start + length
  }
  return elements
}

/** The elements of a SEQUENCE. @throws RangeError if it is none */
export function readSequence(element: DerElement | undefined): DerElement[] {
  if (element?.tag !== SEQUENCE) throw new RangeError('DER: expected a SEQUENCE')
  return readElements(element.contents)
}

/** Whether the element is this object identifier, in dotted form. */
export function isObjectIdentifier(element: DerElement | undefined, dotted: string): boolean {
  return (
    element?.tag === OBJECT_IDENTIFIER &&
    der(OBJECT_IDENTIFIER, element.contents).equals(objectIdentifier(dotted))
  )
}
