// Values of a configuration: how the Lua thread writes them, and how they are shown to people.

/** A Lua value as JSON: `["l", …]` a sequence, `["t", key, value, …]` another table, `["n", "inf"]` infinity. */
export type EncodedValue = string | number | boolean | [string, ...EncodedValue[]]

/** The value that a Lua value becomes; frozen. Objects have no prototype, so that any key is harmless. */
export function decodeValue(encoded: EncodedValue): unknown {
  if (!Array.isArray(encoded)) return encoded
  const [kind, ...items] = encoded
  if (kind === 'n') return items[0] === 'inf' ? Number.POSITIVE_INFINITY : Number.NEGATIVE_INFINITY
  if (kind === 'l') return Object.freeze(items.map(decodeValue))
  const table: Record<string, unknown> = Object.create(null)
  for (let i = 0; i < items.length; i += 2) {
    table[String(items[i])] = decodeValue(items[i + 1] as EncodedValue)
  }
  return Object.freeze(table)
}

const MAX_SHOWN = 60

/** A value in a few words, for a message. */
export function showValue(value: unknown): string {
  if (typeof value === 'string') {
    return JSON.stringify(value.length > MAX_SHOWN ? `${value.slice(0, MAX_SHOWN)}…` : value)
  }
  if (Array.isArray(value)) {
    if (value.length === 0) return 'an empty list'
    const simple = value.every((item) => typeof item !== 'object' && typeof item !== 'function')
    const text = value.slice(0, 8).map(showValue).join(', ')
    return simple && value.length <= 8 && text.length <= MAX_SHOWN
      ? `{ ${text} }`
      : `a list of ${value.length}`
  }
  if (typeof value === 'object' && value !== null) return 'a table'
  if (typeof value === 'function') return 'a function'
  return value === undefined ? 'absent' : String(value)
}
