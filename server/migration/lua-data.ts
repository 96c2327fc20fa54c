/**
 * Reads Lua data as Prosody writes it: tables, strings, numbers, booleans and nil. It is read, never run: whatever
 * would compute something is refused.
 *
 * Strings are bytes, one in each character; `utf8` makes text of them.
 */

/** A table; what has no key is numbered from 1 on. */
export type LuaTable = Map<LuaKey, LuaData>
export type LuaKey = string | number | boolean
export type LuaData = LuaKey | LuaTable | undefined

/** What is wrong, and the index of where. */
export class LuaDataError extends Error {
  readonly at: number

  constructor(at: number, message: string) {
    super(message)
    this.name = 'LuaDataError'
    this.at = at
  }
}

/** The text ended in the midst of something. */
export class LuaDataEnd extends LuaDataError {
  constructor(at: number) {
    super(at, 'the file ends in the middle of something')
    this.name = 'LuaDataEnd'
  }
}

/** Tables in tables; Prosody writes 127 at most. */
const DEEPEST = 200
/** Tables in one value: each takes much more memory than the `{}` that it may be. */
const MOST_TABLES = 200_000

const SHORT_ESCAPES: Readonly<Record<string, string>> = {
  a: '\x07',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
  v: '\v',
  '\\': '\\',
  '"': '"',
  "'": "'",
}
const NAME = /[A-Za-z_][A-Za-z0-9_]*/y
const NUMBER = /-?(?:0[xX][0-9a-fA-F]+|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)/y
/** How Prosody writes the infinities, and what is no number. */
const QUOTIENT = /\(\s*(-?[01])\s*\/\s*0\s*\)/y
const SPACE = /(?:[ \t\r\n\v\f]|--(?!\[=*\[)[^\n]*(?:\n|$))*/y
const PLAIN = /[^"'\\\n]*/y
const LONG_OPEN = /\[(=*)\[\n?/y

/** Reads a text from an index on. */
export class LuaDataReader {
  private readonly text: string
  /** Where it is. */
  at: number
  private tables = 0

  constructor(text: string, at = 0) {
    this.text = text
    this.at = at
  }

  get atEnd(): boolean {
    this.skipSpace()
    return this.at >= this.text.length
  }

  /** Skips a word or sign. @throws LuaDataError if it is not there */
  expect(what: string): void {
    if (!this.skip(what)) throw this.unexpected(what === '' ? 'nothing' : what)
  }

  /** Skips a word or sign if it is there. */
  skip(what: string): boolean {
    this.skipSpace()
    if (!this.text.startsWith(what, this.at)) {
      // It may go on with what is not here yet.
      if (what.startsWith(this.text.slice(this.at))) throw new LuaDataEnd(this.at)
      return false
    }
    this.at += what.length
    return true
  }

  /** @throws LuaDataError */
  value(depth = 0): LuaData {
    this.skipSpace()
    const character = this.text[this.at]
    if (character === undefined) throw new LuaDataEnd(this.at)
    if (character === '{') return this.table(depth)
    if (character === '"' || character === "'") return this.quoted(character)
    if (character === '[') return this.long()
    if (character === '(') return this.quotient()
    if (/[-.0-9]/.test(character)) return this.number()
    const start = this.at
    const name = this.match(NAME)
    // A name that the end cuts off may be another one.
    if (name !== undefined && this.at === this.text.length) throw new LuaDataEnd(this.at)
    if (name === 'true') return true
    if (name === 'false') return false
    if (name === 'nil') return undefined
    this.at = start
    throw this.unexpected('a value')
  }

  private table(depth: number): LuaTable {
    if (depth === DEEPEST)
      throw new LuaDataError(this.at, `there are more than ${DEEPEST} tables in each other`)
    if (++this.tables > MOST_TABLES)
      throw new LuaDataError(this.at, `there are more than ${MOST_TABLES} tables in one`)
    this.at++
    const table: LuaTable = new Map()
    let next = 1
    for (;;) {
      this.skipSpace()
      if (this.text[this.at] === undefined) throw new LuaDataEnd(this.at)
      if (this.text[this.at] === '}') {
        this.at++
        return table
      }
      const key = this.key(depth)
      const value = this.value(depth + 1)
      if (key !== undefined) table.set(key, value)
      else table.set(next++, value)
      this.skipSpace()
      const sign = this.text[this.at]
      if (sign === undefined) throw new LuaDataEnd(this.at)
      if (sign === ';' || sign === ',') this.at++
      else if (sign !== '}') throw this.unexpected('"}", ";" or ","')
    }
  }

  /** `["key"] =` or `key =`; undefined if there is none. */
  private key(depth: number): LuaKey | undefined {
    const start = this.at
    if (this.text[start] === '[') {
      const second = this.text[start + 1]
      if (second === undefined) throw new LuaDataEnd(start)
      if (second === '[' || second === '=') return undefined
      this.at++
      const key = this.value(depth + 1)
      this.expect(']')
      this.expect('=')
      if (key === undefined || key instanceof Map) throw new LuaDataError(start, 'this is no key')
      return key
    }
    const name = this.match(NAME)
    if (name === undefined) return undefined
    if (this.skip('=')) return name
    this.at = start
    return undefined
  }

  private quoted(quote: string): string {
    const start = this.at
    this.at++
    let bytes = ''
    for (;;) {
      bytes += this.match(PLAIN) ?? ''
      const character = this.text[this.at]
      if (character === undefined) throw new LuaDataEnd(start)
      if (character === '\n') throw new LuaDataError(start, 'this string has no end')
      this.at++
      if (character === quote) return bytes
      bytes += character === '\\' ? this.escape() : character
    }
  }

  private escape(): string {
    const at = this.at - 1
    const character = this.text[this.at++]
    if (character === undefined) throw new LuaDataEnd(at)
    if (character === '\n') return '\n' // as %q wrote it
    if (/\d/.test(character)) {
      let digits = character
      while (digits.length < 3 && /\d/.test(this.text[this.at] ?? '')) digits += this.text[this.at++]
      if (this.text[this.at] === undefined) throw new LuaDataEnd(at)
      if (Number(digits) > 255) throw new LuaDataError(at, `\\${digits} is no byte`)
      return String.fromCharCode(Number(digits))
    }
    if (character === 'x') {
      const digits = this.text.slice(this.at, this.at + 2)
      if (digits.length < 2) throw new LuaDataEnd(at)
      if (!/^[0-9a-fA-F]{2}$/.test(digits)) throw new LuaDataError(at, `\\x${digits} is no byte`)
      this.at += 2
      return String.fromCharCode(Number.parseInt(digits, 16))
    }
    const byte = SHORT_ESCAPES[character]
    if (byte === undefined) throw new LuaDataError(at, `\\${character} is not known`)
    return byte
  }

  private long(): string {
    const start = this.at
    LONG_OPEN.lastIndex = start
    const [open, signs] = LONG_OPEN.exec(this.text) ?? []
    if (open === undefined) throw this.unexpected('a value')
    const close = `]${signs}]`
    const from = start + open.length
    const end = this.text.indexOf(close, from)
    if (end < 0) throw new LuaDataEnd(start)
    this.at = end + close.length
    return this.text.slice(from, end)
  }

  private quotient(): number {
    const text = this.match(QUOTIENT)
    if (text === undefined) {
      if (this.text.length - this.at < 16) throw new LuaDataEnd(this.at)
      throw new LuaDataError(this.at, 'this would have to be computed, and only data is read')
    }
    if (text.includes('-')) return Number.NEGATIVE_INFINITY
    return text.includes('1') ? Number.POSITIVE_INFINITY : Number.NaN
  }

  private number(): number {
    const start = this.at
    const text = this.match(NUMBER)
    if (this.at === this.text.length) throw new LuaDataEnd(start)
    if (text === undefined) throw this.unexpected('a value')
    return text.startsWith('-0x') || text.startsWith('-0X') ? -Number(text.slice(1)) : Number(text)
  }

  private match(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.at
    const text = pattern.exec(this.text)?.[0]
    if (text !== undefined) this.at += text.length
    return text
  }

  private skipSpace(): void {
    this.match(SPACE)
  }

  private unexpected(wanted: string): LuaDataError {
    const found = this.text.slice(this.at, this.at + 20).split('\n', 1)[0]
    return new LuaDataError(this.at, `${wanted} was expected, and there is ${JSON.stringify(found)}`)
  }
}

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** The text that the bytes of a string stand for; undefined if they are no UTF-8. */
export function utf8(bytes: string): string | undefined {
  if (/^[\0-\x7f]*$/.test(bytes)) return bytes
  try {
    return decoder.decode(Buffer.from(bytes, 'latin1'))
  } catch {
    return undefined
  }
}
