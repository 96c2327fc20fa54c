// Kinds of options as zod schemas, with Prosody's coercions: "5222" is a number, one name is a list of one.
// Their messages read on after the option's name: "c2s_timeout" + "must be …".

import * as z from 'zod'

/** One value where a list of one was written, as Prosody takes it. */
function single(value: unknown): unknown {
  return Array.isArray(value) && value.length === 1 ? value[0] : value
}

/** true or false; also "true", "false", 1 and 0. */
export function flag() {
  return z.preprocess(
    (value) => {
      const one = single(value)
      if (one === 'true' || one === 1) return true
      if (one === 'false' || one === 0) return false
      return one
    },
    z.boolean({ error: 'must be true or false' }),
  )
}

function numeric(value: unknown): unknown {
  const one = single(value)
  if (typeof one !== 'string' || !/^\s*[-+]?(\d+\.?\d*|\.\d+)\s*$/.test(one)) return one
  return Number(one)
}

/** A whole number within bounds, both included. */
export function integer(min: number, max: number = Number.MAX_SAFE_INTEGER) {
  const error =
    max === Number.MAX_SAFE_INTEGER
      ? `must be a whole number of at least ${min}`
      : `must be a whole number from ${min} to ${max}`
  return z.preprocess(numeric, z.int({ error }).min(min, { error }).max(max, { error }))
}

/** A TCP port; 0 lets the system choose a free one. */
export function portNumber() {
  return integer(0, 65535)
}

/** Text that is not empty; numbers are taken as text, as Prosody does. */
export function text(what = 'text') {
  return z.preprocess(
    (value) => {
      const one = single(value)
      return typeof one === 'number' ? String(one) : one
    },
    z.string({ error: `must be ${what}` }).min(1, { error: `must be ${what}, not empty` }),
  )
}

/** A name: text that is not empty, and nothing that only could be read as text. */
export function word(what: string) {
  return z.preprocess(
    single,
    z.string({ error: `must be ${what}` }).min(1, { error: `must be ${what}, not empty` }),
  )
}

/** One of some words. */
export function oneOf<const T extends readonly [string, ...string[]]>(words: T) {
  const error = `must be one of ${words.map((word) => `"${word}"`).join(', ')}`
  return z.preprocess(single, z.enum(words, { error }))
}

/** A list; one value alone is a list of one, and an empty table an empty list. */
export function list<T extends z.ZodType>(item: T, what: string) {
  return z.preprocess(
    (value) => {
      if (Array.isArray(value) || value === undefined) return value
      if (isTable(value) && Object.keys(value).length === 0) return []
      return item.safeParse(value).success ? [value] : value
    },
    z.array(item, { error: `must be a list of ${what}` }),
  )
}

/** Whether a value is a Lua table with keys, or a plain object. */
export function isTable(value: unknown): value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === null || prototype === Object.prototype
}

/** For {@link z.preprocess}: an empty table is `[]` from Lua, where it may also stand for no keys. */
export function emptyAsTable(value: unknown): unknown {
  return Array.isArray(value) && value.length === 0 ? {} : value
}

/** A table whose keys are not known beforehand; the result has no prototype. */
export function table<T extends z.ZodType>(item: T, what: string) {
  return z.unknown().transform((value, context): Record<string, z.output<T>> => {
    const source = emptyAsTable(value)
    const out: Record<string, z.output<T>> = Object.create(null)
    if (!isTable(source)) {
      context.addIssue({ code: 'custom', message: `must be ${what}` })
      return z.NEVER
    }
    for (const [key, entry] of Object.entries(source)) {
      const parsed = item.safeParse(entry)
      if (parsed.success) out[key] = parsed.data
      else {
        for (const issue of parsed.error.issues) {
          context.addIssue({ code: 'custom', message: issue.message, path: [key, ...issue.path] })
        }
      }
    }
    return out
  })
}

/** The sequence of a table from Lua that may have keys as well: a list's items, or those under "1", "2", … */
export function sequenceOf(value: unknown): unknown[] {
  if (Array.isArray(value)) return value
  if (!isTable(value)) return []
  const items: unknown[] = []
  for (let i = 1; Object.hasOwn(value, String(i)); i++) items.push(value[String(i)])
  return items
}

const UNITS: Record<string, number> = {
  '': 1,
  s: 1,
  min: 60,
  h: 3600,
  d: 86_400,
  w: 604_800,
  mon: 2_678_400,
  y: 31_557_600,
}

const PERIOD_FORMS = 'a number of seconds or a period such as "2 hours", "5 minutes", "3 days", "never"'

/** Seconds of "90", "5 minutes", "2h", "1w", "never"; undefined for other text. */
export function parsePeriod(value: string): number | undefined {
  const words = value.trim().toLowerCase()
  if (words === 'never') return Number.POSITIVE_INFINITY
  const [, amount, unit] = /^(\d+(?:\.\d+)?)\s*([a-z]*)$/.exec(words) ?? []
  if (amount === undefined || unit === undefined) return undefined
  // "m" alone, or "mo…" against "mi…": a month or a minute? Prosody asks for the full word as well.
  const name = /^mins?$|^minutes?$/.test(unit)
    ? 'min'
    : /^mon$|^months?$/.test(unit)
      ? 'mon'
      : /^(s|secs?|seconds?|h|hours?|d|days?|w|weeks?|y|years?)$/.test(unit)
        ? unit.charAt(0)
        : unit
  const factor = Object.hasOwn(UNITS, name) ? UNITS[name] : undefined
  return factor === undefined ? undefined : Number(amount) * factor
}

/** A period in seconds. `false`, "never" and what is negative mean for ever: `Infinity`. */
export function period(min = 0) {
  return z.unknown().transform((value, context): number => {
    const one = single(value)
    let seconds: number | undefined
    if (one === false) seconds = Number.POSITIVE_INFINITY
    else if (typeof one === 'number' && !Number.isNaN(one)) seconds = one < 0 ? Number.POSITIVE_INFINITY : one
    else if (typeof one === 'string') seconds = parsePeriod(one)
    if (seconds === undefined) {
      context.addIssue({ code: 'custom', message: `must be ${PERIOD_FORMS}` })
      return z.NEVER
    }
    if (seconds < min) {
      context.addIssue({ code: 'custom', message: `must be at least ${min} seconds` })
      return z.NEVER
    }
    return seconds
  })
}

/** A JID as text: it is only looked at, the router prepares it. */
export function jid(what = 'a JID') {
  return text(what).refine((value) => /^([^@/\s]+@)?[^@/\s]+(\/[\s\S]+)?$/.test(value), {
    error: `must be ${what}, such as "romeo@montague.lit"`,
  })
}
