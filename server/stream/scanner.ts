/** The machine that reads a stream's XML character by character, and refuses what RFC 6120 does not allow. */

import { Attributes } from '../stanza/attributes.ts'
import { decodeAttribute } from '../stanza/references.ts'
import { Assembler, copy, MOST_CREDIT, NOT_WELL_FORMED } from './assembler.ts'
import {
  AMPERSAND,
  CLASS,
  COLON,
  DOUBLE_QUOTE,
  EQUALS,
  EXCLAMATION,
  endOfTextRun,
  GREATER,
  HASH,
  IS_CDATA,
  IS_LEGAL,
  IS_NAME,
  IS_NAME_START,
  IS_SPACE,
  IS_VALUE,
  isXmlChar,
  LEFT_BRACKET,
  LESS,
  LETTER_X,
  QUESTION,
  RIGHT_BRACKET,
  SEMICOLON,
  SINGLE_QUOTE,
  SLASH,
  SPACE,
} from './chars.ts'
import { checkDeclaration } from './declaration.ts'
import type { ShapeTable } from './shape-table.ts'
import {
  AFTER,
  ATTRIBUTE_LOCAL,
  ATTRIBUTE_NAME,
  BANG,
  BETWEEN,
  CDATA,
  CONTENT,
  DECIMAL,
  DECLARATION,
  ELEMENT_LOCAL,
  ELEMENT_NAME,
  EMPTY,
  END_GAP,
  END_NAME,
  ENDING,
  ENTITY,
  EQUAL,
  GAP,
  HEXADECIMAL,
  NUMBER,
  OPEN,
  PROLOG,
  QUOTE,
  REFERENCE,
  START,
  VALUE,
} from './states.ts'

/** Where shapes did not help, one is looked for at every so many stanzas only. */
const RARELY = 16

/** A stanza that is cut by the end of a text and begins beyond so many characters is copied. */
const FAR = 1024

const CDATA_OPEN = '[CDATA['
const DECLARATION_SINGLE = "xml version='1.0'?>"
const DECLARATION_DOUBLE = 'xml version="1.0"?>'

// The names of the five entities, their characters packed as `ENTITY` collects them.
const packName = (name: string) => [...name].reduce((packed, c) => packed * 128 + c.charCodeAt(0), 0)
const AMP = packName('amp')
const LT = packName('lt')
const GT = packName('gt')
const APOS = packName('apos')
const QUOT = packName('quot')

export class Scanner extends Assembler {
  // What is known of the token, the reference or the brackets being read.
  private declaration = ''
  private atStart = false
  private quote = 0
  private dirty = false
  private matched = 0
  private brackets = 0
  private referenceReturn = CONTENT
  private reference = 0
  private referenceDigits = 0
  private unasked = 0

  /**
   * Reads text from `from` on.
   *
   * @param ascii - whether each character is one byte
   * @returns where it stopped: the length, or less if it was halted
   * @throws StreamError
   */
  scan(text: string, from: number, ascii: boolean): number {
    this.text = text
    this.ascii = ascii
    const begun = this.state === START ? this.recallStream(from) : from
    const at = this.halted ? begun : this.run(text, begun)
    this.streamStart = -1
    if (this.unitStart < 0) this.forgetTexts()
    else if (this.unitStart > FAR && text.length - this.unitStart < this.unitStart) this.rescan()
    else this.endOfText(text)
    this.text = ''
    return at
  }

  /**
   * Reads the unfinished stanza again, from a copy: what is kept of it would keep alive the text of all that
   * was before it. Once a stanza at most.
   */
  private rescan(): void {
    const tail = copy(this.text.slice(this.unitStart))
    this.scope.release(0)
    this.forgetUnit()
    this.state = this.headerRead ? BETWEEN : PROLOG
    this.text = tail
    this.run(tail, 0)
    this.endOfText(tail)
  }

  private run(text: string, from: number): number {
    const end = text.length
    let i = from
    let state = this.state
    while (i < end) {
      const c = text.charCodeAt(i)
      switch (state) {
        case CONTENT: {
          const k = endOfTextRun(text, i)
          if (k > i) {
            this.brackets = 0
            i = k
            break
          }
          i++
          if (c === LESS) {
            this.endTagAt = i - 1 + this.innerOffset
            this.brackets = 0
            state = OPEN
          } else if (c === AMPERSAND) {
            this.brackets = 0
            this.referenceReturn = CONTENT
            state = REFERENCE
          } else if (c === RIGHT_BRACKET) {
            this.brackets++
          } else if (c === GREATER) {
            if (this.brackets >= 2) throw this.refuse(i, NOT_WELL_FORMED, ']]> in text')
            this.brackets = 0
          } else {
            throw this.refuse(i, NOT_WELL_FORMED, illegalCharacter(c))
          }
          break
        }

        case OPEN:
          i++
          if ((CLASS[c]! & IS_NAME_START) !== 0) {
            if (this.depth >= this.limits.depth) {
              throw this.refuse(i, 'policy-violation', `elements deeper than ${this.limits.depth}`)
            }
            this.tokenStart = i - 1
            this.colon = -1
            state = ELEMENT_NAME
          } else if (c === SLASH) {
            if (!this.headerRead) throw this.refuse(i, NOT_WELL_FORMED, 'an end tag before any start tag')
            this.matched = 0
            state = END_NAME
          } else if (c === EXCLAMATION) {
            this.matched = 0
            state = BANG
          } else if (c === QUESTION) {
            this.declaration = ''
            state = DECLARATION
          } else {
            throw this.refuse(i, NOT_WELL_FORMED, '< that begins no tag')
          }
          break

        case ELEMENT_LOCAL:
        case ATTRIBUTE_LOCAL:
          if ((CLASS[c]! & IS_NAME_START) === 0) {
            throw this.refuse(
              i + 1,
              NOT_WELL_FORMED,
              'a name that ends in a colon or goes on wrongly after it',
            )
          }
          state = state === ELEMENT_LOCAL ? ELEMENT_NAME : ATTRIBUTE_NAME
          break

        case ELEMENT_NAME:
        case ATTRIBUTE_NAME: {
          let k = i
          while (k < end && (CLASS[text.charCodeAt(k)]! & IS_NAME) !== 0) k++
          if (k === end) {
            i = k
            break
          }
          i = k
          if (text.charCodeAt(k) === COLON) {
            i++
            if (this.colon >= 0) throw this.refuse(i, NOT_WELL_FORMED, 'a name with two colons')
            this.colon = this.tokenLength + k - this.tokenStart
            state = state === ELEMENT_NAME ? ELEMENT_LOCAL : ATTRIBUTE_LOCAL
          } else if (state === ELEMENT_NAME) {
            this.tag.begin(this.takeName(text, k), this.colon)
            state = AFTER
          } else {
            this.attributeNamed(this.takeName(text, k), k)
            state = EQUAL
          }
          break
        }

        case AFTER:
        case GAP:
          if ((CLASS[c]! & IS_SPACE) !== 0) {
            i++
            state = GAP
          } else if (c === GREATER) {
            i++
            this.startTagRead(i)
            if (!this.headerRead) {
              this.openStream(i, BETWEEN)
              if (this.halted) return i
              state = this.state
            } else {
              state = CONTENT
              this.openElement(i)
            }
          } else if (c === SLASH) {
            i++
            state = EMPTY
          } else if (state === AFTER) {
            throw this.refuse(i + 1, NOT_WELL_FORMED, 'white space is missing before an attribute')
          } else if ((CLASS[c]! & IS_NAME_START) !== 0) {
            this.tokenStart = i
            this.colon = -1
            i++
            state = ATTRIBUTE_NAME
          } else {
            throw this.refuse(i + 1, NOT_WELL_FORMED, 'a start tag with something that is no attribute')
          }
          break

        case EQUAL:
          i++
          if (c === EQUALS) state = QUOTE
          else if ((CLASS[c]! & IS_SPACE) === 0) {
            throw this.refuse(i, NOT_WELL_FORMED, 'an attribute without a value')
          }
          break

        case QUOTE:
          i++
          if (c === DOUBLE_QUOTE || c === SINGLE_QUOTE) {
            this.quote = c
            this.dirty = false
            // Values are kept of what is handed over, and of declarations.
            if (this.depth === 0 || this.lastDeclares()) this.tokenStart = i
            state = VALUE
          } else if ((CLASS[c]! & IS_SPACE) === 0) {
            throw this.refuse(i, NOT_WELL_FORMED, 'an attribute value without quotes')
          }
          break

        case VALUE: {
          let k = i
          while (k < end && (CLASS[text.charCodeAt(k)]! & IS_VALUE) !== 0) k++
          i = k
          if (k === end) break
          const stop = text.charCodeAt(k)
          i++
          if (stop === this.quote) {
            if (this.tokenStart >= 0) this.valueRead(this.takeToken(text, k), i)
            state = AFTER
          } else if (stop === AMPERSAND) {
            this.dirty = true
            this.referenceReturn = VALUE
            state = REFERENCE
          } else if ((CLASS[stop]! & IS_SPACE) !== 0) {
            this.dirty = true
          } else if (stop === LESS) {
            throw this.refuse(i, NOT_WELL_FORMED, '< in an attribute value')
          } else if ((CLASS[stop]! & IS_LEGAL) === 0) {
            throw this.refuse(i, NOT_WELL_FORMED, illegalCharacter(stop))
          }
          break
        }

        case EMPTY:
          if (c !== GREATER) throw this.refuse(i + 1, NOT_WELL_FORMED, '/ in a start tag without >')
          this.startTagRead(i + 1)
          if (!this.headerRead) {
            // The stream ends with the same character, but not before a pause that its beginning may bring.
            this.openStream(i + 1, ENDING)
            if (this.halted) return i
            state = this.state
            break
          }
          i++
          this.openElement(i)
          if (this.depth === 1) {
            this.endTagAt = 0
            this.stanzaRead(i)
            if (this.halted) return i
            state = this.state
          } else {
            this.closeElement()
            state = CONTENT
          }
          break

        case ENDING:
          i++
          this.closeStream()
          if (this.halted) return i
          state = this.state
          break

        case END_NAME: {
          const name = this.depth === 0 ? this.streamName : this.openNames[this.depth - 1]!
          const { length } = name
          if (this.matched === 0 && text.startsWith(name, i)) {
            i += length
            state = END_GAP
            break
          }
          let matched = this.matched
          while (i < end && matched < length && text.charCodeAt(i) === name.charCodeAt(matched)) {
            i++
            matched++
          }
          this.matched = matched
          if (matched === length) state = END_GAP
          else if (i < end) {
            throw this.refuse(i + 1, NOT_WELL_FORMED, `an end tag that is not the one of ${name}`)
          }
          break
        }

        case END_GAP:
          i++
          if (c === GREATER) {
            if (this.depth > 1) {
              this.closeElement()
              state = CONTENT
            } else {
              if (this.depth === 1) this.stanzaRead(i)
              else this.closeStream()
              if (this.halted) return i
              state = this.state
            }
          } else if ((CLASS[c]! & IS_SPACE) === 0) {
            throw this.refuse(i, NOT_WELL_FORMED, 'an end tag with more than a name, or another name')
          }
          break

        case REFERENCE:
          i++
          if (c === HASH) state = NUMBER
          else if ((CLASS[c]! & IS_NAME_START) !== 0) {
            this.reference = c
            state = ENTITY
          } else {
            throw this.refuse(i, NOT_WELL_FORMED, '& that begins no reference')
          }
          break

        case ENTITY:
          i++
          if (c === SEMICOLON) {
            const name = this.reference
            if (name !== AMP && name !== LT && name !== GT && name !== QUOT && name !== APOS) {
              throw this.refuse(i, 'restricted-xml', 'a reference to an entity that is not predefined')
            }
            state = this.referenceReturn
          } else if ((CLASS[c]! & IS_NAME) !== 0 || c === COLON) {
            // Four characters have the longest of the five. A name beyond is none of them, whatever follows.
            if (c > 0x7f || this.reference >= 0x200000) {
              throw this.refuse(i, 'restricted-xml', 'a reference to an entity that is not predefined')
            }
            this.reference = this.reference * 128 + c
          } else {
            throw this.refuse(i, NOT_WELL_FORMED, '& that begins no reference')
          }
          break

        case NUMBER:
          this.reference = 0
          this.referenceDigits = 0
          if (c === LETTER_X) {
            i++
            state = HEXADECIMAL
          } else {
            state = DECIMAL
          }
          break

        case DECIMAL:
        case HEXADECIMAL:
          i++
          if (c === SEMICOLON && this.referenceDigits > 0) {
            if (!isXmlChar(this.reference)) {
              throw this.refuse(i, NOT_WELL_FORMED, 'a reference to a character that XML does not allow')
            }
            state = this.referenceReturn
          } else {
            const digit = digitValue(c)
            const radix = state === DECIMAL ? 10 : 16
            if (digit >= radix)
              throw this.refuse(i, NOT_WELL_FORMED, 'a character reference that is no number')
            this.referenceDigits = 1
            this.reference = Math.min(this.reference * radix + digit, 0x110000)
          }
          break

        case CDATA: {
          let k = i
          while (k < end && (CLASS[text.charCodeAt(k)]! & IS_CDATA) !== 0) k++
          if (k > i) {
            this.brackets = 0
            i = k
            break
          }
          i++
          if (c === RIGHT_BRACKET) {
            this.brackets++
          } else if (c === GREATER) {
            if (this.brackets >= 2) state = CONTENT
            this.brackets = 0
          } else {
            throw this.refuse(i, NOT_WELL_FORMED, illegalCharacter(c))
          }
          break
        }

        case BANG:
          i++
          this.checkBang(c, i)
          if (++this.matched === CDATA_OPEN.length) {
            this.brackets = 0
            state = CDATA
          }
          break

        case BETWEEN:
          if (c === LESS && this.shapes !== undefined) {
            const stanzaEnd = this.recognize(text, i, this.shapes)
            if (stanzaEnd > 0) {
              i = stanzaEnd
              if (this.halted) return i
              state = this.state
              break
            }
          }
          i++
          if (c === LESS) {
            this.unitStart = i - 1
            this.atStart = false
            state = OPEN
          } else if (c === SPACE) {
            // A client that keeps its connection alive with many must not be dear.
            while (i < end && text.charCodeAt(i) === SPACE) i++
          } else if ((CLASS[c]! & IS_SPACE) === 0) {
            if ((CLASS[c]! & IS_LEGAL) === 0) throw this.refuse(i, NOT_WELL_FORMED, illegalCharacter(c))
            // Well-formed, but nothing that a stream may hold (RFC 6120 §4.9.3.1, §11.7).
            throw this.refuse(i, 'bad-format', 'text between stanzas')
          }
          break

        case START:
        case PROLOG:
          i++
          if (c === LESS) {
            this.unitStart = i - 1
            this.atStart = state === START
            state = OPEN
          } else if ((CLASS[c]! & IS_SPACE) !== 0) {
            state = PROLOG
          } else {
            // Also U+FEFF, which is no byte order mark in XMPP but a character (RFC 6120 §11.6).
            throw this.refuse(i, NOT_WELL_FORMED, 'text before the stream header')
          }
          break

        case DECLARATION: {
          // Nearly all write it in one of two ways. Looking after each character costs more than all the rest.
          if (this.declaration === '' && this.atStart) {
            const length = usualDeclaration(text, i)
            if (length > 0) {
              i += length
              this.unitStart = -1
              state = PROLOG
              break
            }
          }
          i++
          if ((CLASS[c]! & IS_LEGAL) === 0) throw this.refuse(i, NOT_WELL_FORMED, illegalCharacter(c))
          this.declaration += text[i - 1]
          const checked = checkDeclaration(this.declaration, this.atStart)
          if (typeof checked === 'object') throw this.refuse(i, checked.condition, checked.text)
          if (checked) {
            this.unitStart = -1
            state = PROLOG
          }
          break
        }

        default:
          // CLOSED: what follows the stream is nothing to us.
          i = end
      }
    }
    this.state = state
    return i
  }

  /**
   * Hands over the stanza that begins at `at`, if it has a shape that is known.
   *
   * @returns where it ends; -1 if it has to be scanned
   */
  private recognize(text: string, at: number, shapes: ShapeTable): number {
    if (this.credit <= 0 && ++this.unasked % RARELY !== 0) return -1
    const shape = shapes.find(text, at, this.before)
    if (shape === undefined) {
      this.credit--
      return -1
    }
    const { pattern } = shape
    const { end } = pattern
    if (!pattern.keeps(this.limits) || this.longerThanAllowed(text, at, end)) return -1
    this.before = shape
    if (this.credit < MOST_CREDIT) this.credit += 2
    const { attributeOf, attributeValues, outline, begins, ends } = pattern
    const attrs = new Attributes()
    for (let k = 0; k < attributeOf.length; k++) {
      const varying = attributeOf[k]!
      const value = varying < 0 ? attributeValues[k]! : text.slice(begins[varying], ends[varying])
      attrs[outline.attributes[k]!] = value
    }
    const start = pattern.start(at)
    const cuts = pattern.located ? pattern.cuts(at, start) : undefined
    const inner = text.slice(start, end - pattern.endTagLength)
    const { name, xmlns, childCount } = outline
    this.state = BETWEEN
    this.handler.element(
      name,
      xmlns,
      attrs,
      inner,
      childCount,
      pattern.payloadName,
      pattern.payloadNs,
      pattern,
      cuts,
    )
    return end
  }

  private longerThanAllowed(text: string, at: number, end: number): boolean {
    const limit = this.limits.stanzaBytes
    if ((end - at) * 3 <= limit) return false
    return (this.ascii ? end - at : Buffer.byteLength(text.slice(at, end))) > limit
  }

  private valueRead(raw: string, at: number): void {
    this.attributeRead(this.dirty ? decodeAttribute(raw) : raw, at)
  }

  private takeToken(text: string, end: number): string {
    const last = text.slice(this.tokenStart, end)
    this.tokenStart = -1
    if (this.tokenPieces.length === 0) return last
    this.tokenPieces.push(last)
    const token = this.tokenPieces.join('')
    this.tokenPieces.length = 0
    this.tokenLength = 0
    return token
  }

  private takeName(text: string, end: number): string {
    const name = this.takeToken(text, end)
    if (name.length > this.limits.nameLength) {
      const limit = this.limits.nameLength
      throw this.refuse(end + 1, 'policy-violation', `a name longer than ${limit} characters`)
    }
    return name
  }

  private checkBang(c: number, at: number): void {
    if (this.matched === 0 && c !== LEFT_BRACKET) {
      // RFC 6120 §11.1
      throw this.refuse(at, 'restricted-xml', 'comments and document types are not allowed')
    }
    if (this.depth === 0) {
      if (!this.headerRead) throw this.refuse(at, NOT_WELL_FORMED, 'text before the stream header')
      throw this.refuse(at, 'bad-format', 'text between stanzas')
    }
    if (c !== CDATA_OPEN.charCodeAt(this.matched)) {
      throw this.refuse(at, NOT_WELL_FORMED, '<![ that begins no CDATA section')
    }
  }
}

/** Characters of a declaration as nearly all write it, that begins behind its `<?`; 0 if it is another. */
function usualDeclaration(text: string, at: number): number {
  if (text.startsWith(DECLARATION_SINGLE, at)) return DECLARATION_SINGLE.length
  return text.startsWith(DECLARATION_DOUBLE, at) ? DECLARATION_DOUBLE.length : 0
}

function illegalCharacter(c: number): string {
  return `the character U+${c.toString(16).toUpperCase().padStart(4, '0')}, which XML does not allow`
}

/** The value of a digit, decimal or hexadecimal; 16 if it is none. */
function digitValue(c: number): number {
  if (c >= 0x30 && c <= 0x39) return c - 0x30
  const letter = c | 0x20
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x57 : 16
}
