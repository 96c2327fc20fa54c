// What ASCII may stand in which part of a JID as it is: most addresses need no more than this table.

/** The longest a part may be, in bytes of UTF-8 (RFC 7622 §3.1). */
export const MAX_PART_BYTES = 1023

/** The longest label of a domain in its ASCII form, in bytes (RFC 1035 §2.3.4). */
const MAX_LABEL_BYTES = 63

/** Which part an ASCII character may stand in as it is: bits for {@link asciiAllows}. */
export const IN_LOCAL = 1
export const IN_DOMAIN = 2
export const IN_RESOURCE = 4

/** Valid in names, and nevertheless not in localparts (RFC 7622 §3.3.1). */
const EXCLUDED_FROM_LOCAL = `"&'/:<>@`

const asciiParts = new Uint8Array(128)
for (let code = 0x20; code < 0x7f; code++) {
  const character = String.fromCharCode(code)
  const upper = code >= 0x41 && code <= 0x5a
  let parts = IN_RESOURCE
  if (!upper && code !== 0x20 && !EXCLUDED_FROM_LOCAL.includes(character)) parts |= IN_LOCAL
  // The underscore is no letter of host names, but internal and container names have it
  if ((code >= 0x61 && code <= 0x7a) || (code >= 0x30 && code <= 0x39) || '.-_'.includes(character)) {
    parts |= IN_DOMAIN
  }
  asciiParts[code] = parts
}

/** Whether the UTF-16 code unit `code` is an ASCII character that needs no preparation in that part. */
export function asciiAllows(code: number, part: number): boolean {
  return code < 128 && (asciiParts[code]! & part) !== 0
}

/** Whether every character of `text` may stand in that part as it is. */
export function isPlain(text: string, part: number): boolean {
  for (let i = 0; i < text.length; i++) if (!asciiAllows(text.charCodeAt(i), part)) return false
  return true
}

/** Whether a localpart that the profile allows has a character that RFC 7622 §3.3.1 excludes. */
export function hasExcluded(local: string): boolean {
  for (const character of EXCLUDED_FROM_LOCAL) if (local.includes(character)) return true
  return false
}

/** Whether a text takes more bytes of UTF-8 than a part may have. */
export function isTooLong(text: string): boolean {
  return text.length > MAX_PART_BYTES || Buffer.byteLength(text) > MAX_PART_BYTES
}

/** Whether an ASCII name consists of labels of 1 to 63 bytes with no hyphen at an end. */
export function hasPlainLabels(name: string): boolean {
  let start = 0
  for (let i = 0; i <= name.length; i++) {
    if (i < name.length && name.charCodeAt(i) !== 0x2e) continue
    const length = i - start
    if (length === 0 || length > MAX_LABEL_BYTES) return false
    if (name.charCodeAt(start) === 0x2d || name.charCodeAt(i - 1) === 0x2d) return false
    start = i + 1
  }
  return true
}

/** Whether a label of a lower-case ASCII name begins with `xn--` (RFC 5890 §2.3.2.1). */
export function hasALabel(name: string): boolean {
  return name.startsWith('xn--') || name.includes('.xn--')
}
