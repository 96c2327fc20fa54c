// Log records as lines for people: time, level, where, message, key=value. What a peer sent can not forge one.

/** A record as pino writes it. */
export interface LogRecord {
  level: string
  /** ISO 8601 */
  time: string
  name?: unknown
  host?: unknown
  msg?: unknown
  [field: string]: unknown
}

// Controls (C0, DEL, C1), line separators, and what turns the direction of text around: with these a value could
// end its line, drive the terminal, or show itself as something else.
const UNSAFE = /[\p{Cc}\p{Zl}\p{Zp}\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/u
const ALL_UNSAFE = new RegExp(UNSAFE.source, 'gu')
const SHORT_ESCAPES: Record<string, string> = { '\n': '\\n', '\r': '\\r', '\t': '\\t' }

/** Writes unsafe characters as JSON would; what is already JSON stays valid JSON of the same meaning. */
export function escapeUnsafe(text: string): string {
  if (!UNSAFE.test(text)) return text
  return text.replace(
    ALL_UNSAFE,
    (character) => SHORT_ESCAPES[character] ?? `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}

const PLAIN_VALUE = /^[^\s"\\=\p{C}]+$/u

/** A value that reads as one word, or is quoted. */
function formatValue(value: unknown): string {
  if (typeof value === 'string' && PLAIN_VALUE.test(value)) return value
  return escapeUnsafe(JSON.stringify(value) ?? String(value))
}

function twoDigits(number: number): string {
  return number < 10 ? `0${number}` : String(number)
}

/** Local time, as Prosody has it in its logs; JSON logs have UTC. */
function formatTime(iso: string): string {
  const time = new Date(iso)
  const day = `${time.getFullYear()}-${twoDigits(time.getMonth() + 1)}-${twoDigits(time.getDate())}`
  return `${day} ${twoDigits(time.getHours())}:${twoDigits(time.getMinutes())}:${twoDigits(time.getSeconds())}`
}

const NOT_FIELDS = new Set(['level', 'time', 'pid', 'name', 'host', 'msg', 'stack'])
const COLOURS: Record<string, string> = { warn: '\u001b[33m', error: '\u001b[31m', debug: '\u001b[2m' }
const COLOUR_OFF = '\u001b[0m'

/**
 * The line of a record, with its end: `2026-11-22 11:24:01 info   c2s  capulet.lit  message key=value`.
 * A stack follows on lines of its own, indented, so that it can not be taken for records.
 */
export function formatRecord(record: LogRecord, style: { timestamps: boolean; colours: boolean }): string {
  const level = record.level.padEnd(5)
  const colour = style.colours ? COLOURS[record.level] : undefined
  let line = style.timestamps ? `${formatTime(record.time)} ` : ''
  line += colour === undefined ? level : `${colour}${level}${COLOUR_OFF}`
  if (record.name !== undefined) line += `  ${formatValue(record.name)}`
  if (record.host !== undefined) line += `  ${formatValue(record.host)}`
  line += `  ${escapeUnsafe(String(record.msg ?? ''))}`
  for (const [key, value] of Object.entries(record)) {
    if (!NOT_FIELDS.has(key)) line += ` ${formatValue(key)}=${formatValue(value)}`
  }
  if (typeof record['stack'] === 'string') {
    for (const frame of record['stack'].split('\n')) line += `\n    ${escapeUnsafe(frame.trim())}`
  }
  return `${line}\n`
}
