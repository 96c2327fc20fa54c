/** Values as the text that drivers keep, the same for each of them. */

import { StorageError } from './types.ts'

/**
 * The JSON text of a value. What JSON would change without a word (NaN, Date, Map, functions, undefined in an
 * array) is refused, because it would come back as something else; properties that are undefined are left out.
 *
 * @throws StorageError `bad-value`
 */
export function encodeValue(value: unknown): string {
  let text: string | undefined
  try {
    text = JSON.stringify(value, refuseForeign)
  } catch (error) {
    if (error instanceof StorageError) throw error
    const reason = error instanceof Error ? error.message : String(error)
    throw new StorageError('bad-value', `a value to store is not JSON data: ${reason}`, error)
  }
  if (text === undefined) throw new StorageError('bad-value', 'a value to store is undefined')
  return text
}

/** @throws StorageError `corrupt` */
export function decodeValue(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    throw new StorageError('corrupt', 'a stored value is not JSON: the database is damaged', error)
  }
}

function refuseForeign(this: unknown, key: string, value: unknown): unknown {
  // What toJSON made of it is not what was given.
  const original = (this as Record<string, unknown>)[key]
  switch (typeof original) {
    case 'string':
    case 'boolean':
      return value
    case 'number':
      if (Number.isFinite(original)) return value
      break
    case 'undefined':
      if (!Array.isArray(this)) return value
      break
    case 'object':
      if (original === null || isPlain(original)) return value
      break
  }
  throw new StorageError('bad-value', `a value to store has, at "${key}", something that is not JSON data`)
}

function isPlain(value: object): boolean {
  if (Array.isArray(value)) return true
  const prototype: unknown = Object.getPrototypeOf(value)
  // The second: an object of another realm, such as a vm context, has another Object.prototype.
  return prototype === null || (prototype as object).constructor?.name === 'Object'
}

/**
 * Names become UTF-8, where every half of a surrogate pair turns into the same U+FFFD: two names would be one.
 *
 * @throws StorageError `bad-name`
 */
export function checkName(name: string | null): void {
  if (name !== null && /\p{Surrogate}/u.test(name)) {
    throw new StorageError('bad-name', `${JSON.stringify(name)} is no Unicode text and can not name a record`)
  }
}
