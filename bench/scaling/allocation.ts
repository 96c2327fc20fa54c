// What things take in the memory of Redis 7.0 (64 bits, jemalloc) and of V8 (64 bits, as Node is built): the sizes
// that both are known to use, as pure functions. docs/scaling.md puts them together.

/** What jemalloc gives for so many bytes: multiples of 16 up to 128, then four sizes for each power of two. */
export function allocated(bytes: number): number {
  if (bytes <= 8) return 8
  if (bytes <= 128) return Math.ceil(bytes / 16) * 16
  const step = 2 ** (Math.ceil(Math.log2(bytes)) - 3)
  return Math.ceil(bytes / step) * step
}

/** A string of Redis: a header of 1, 3 or 5 bytes, the text, a zero. */
export function redisString(length: number): number {
  const header = length < 32 ? 1 : length < 256 ? 3 : 5
  return allocated(header + length + 1)
}

/** An entry of a table of Redis, beside what it points to. */
export const REDIS_ENTRY = allocated(24)
const REDIS_OBJECT = 16
const REDIS_TABLE_HEAD = allocated(56)

/** The buckets of a table of Redis with so many entries. */
export function redisBuckets(entries: number): number {
  return allocated(8 * powerOfTwo(entries, 4))
}

/** A hash that is kept as a table, since it is long or has long values. */
export function redisHash(entries: number, fieldLength: number, valueLength: number): number {
  const each = REDIS_ENTRY + redisString(fieldLength) + redisString(valueLength)
  return REDIS_OBJECT + REDIS_TABLE_HEAD + redisBuckets(entries) + entries * each
}

/** A hash of few short values, which is kept as one piece of memory. */
export function redisSmallHash(lengths: readonly number[]): number {
  let bytes = 7
  for (const length of lengths) bytes += packedString(length)
  return REDIS_OBJECT + allocated(bytes)
}

/** A set of strings. */
export function redisSet(entries: number, length: number): number {
  const each = REDIS_ENTRY + redisString(length)
  return REDIS_OBJECT + REDIS_TABLE_HEAD + redisBuckets(entries) + entries * each
}

/** What a key takes beside its value, in a database of so many. */
export function redisKey(length: number, keys: number): number {
  return REDIS_ENTRY + redisString(length) + redisBuckets(keys) / keys
}

/** A string within a packed list: its kind, itself, and its length for going backwards. */
export function packedString(length: number): number {
  return (length < 64 ? 1 : length < 4096 ? 2 : 5) + length + (length < 126 ? 1 : 2)
}

/** A number of that size within a packed list. */
export function packedNumber(value: number): number {
  const size = Math.abs(value)
  if (size < 128) return 2
  if (size < 4096) return 3
  if (size < 2 ** 15) return 4
  if (size < 2 ** 23) return 5
  return size < 2 ** 31 ? 6 : 10
}

/** A string in Redis's protocol. */
export function protocolString(length: number): number {
  return `$${length}\r\n`.length + length + 2
}

/** A string of Latin-1 in V8. */
export function v8String(length: number): number {
  return 16 + Math.ceil(length / 8) * 8
}

/** A part of a string that V8 cuts from another: short ones are copied. */
export function v8Slice(length: number): number {
  return length < 13 ? v8String(length) : 32
}

/** An object with so many properties, all within it. */
export function v8Object(properties: number): number {
  return 24 + 8 * properties
}

/** A `Map` with so many entries: three words for each that it has room for, and a bucket for two. */
export function v8Map(entries: number): number {
  return 40 + 28 * powerOfTwo(entries, 4)
}

/** The least power of two that is not less. */
export function powerOfTwo(count: number, least: number): number {
  return Math.max(least, 2 ** Math.ceil(Math.log2(Math.max(count, 1))))
}
