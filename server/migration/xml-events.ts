/** Reads XML with sax, for files of any size: what a document may have, and where it stands. */

import sax from 'sax'
import { checkText } from './elements.ts'
import { ContentError, DataError, type Place } from './parts.ts'

/** Elements in each other, and attributes of one, that are read at all. An account may have fewer. */
const DEEPEST = 20_000
const MOST_ATTRIBUTES = 20_000
/** Characters of what comes in one piece: the attributes of an element, a comment. */
const LONGEST = 16 * 1024 * 1024
const TOO_LONG = `the attributes of an element, or something else in one piece, are longer than ${LONGEST / 2 ** 20} MiB`
// With the usual 64 KiB one attribute of a message would end the import. sax has it for all parsers at once.
Object.assign(sax, { MAX_BUFFER_LENGTH: LONGEST })
/** Characters that are read before what has been gathered is put in order. */
const GATHERED_AT_ONCE = 1024 * 1024
/** What sax gathers character by character. */
const GATHERED = [
  'attribValue',
  'attribName',
  'tagName',
  'comment',
  'doctype',
  'sgmlDecl',
  'procInstBody',
] as const

/** What is told of a document. */
export interface XmlHandler {
  /** @param attrs - as written, declarations of namespaces with them */
  open(name: string, attrs: [name: string, value: string][]): void
  close(): void
  text(text: string): void
}

/**
 * A document that comes in chunks. It may have what a file of data needs: no document type and no entities of its
 * own, and in UTF-8.
 */
export class XmlReader {
  private readonly file: string
  private readonly parser: sax.SAXParser & Readonly<Record<(typeof GATHERED)[number], string>>
  private failure: DataError | undefined
  private attrs: [string, string][] = []
  private attrsLength = 0
  private gathered = 0
  private depth = 0
  private begun = false
  private endsWithReturn = false

  constructor(file: string, handler: XmlHandler) {
    this.file = file
    const options: sax.SAXOptions & { strictEntities: boolean } = { strictEntities: true, position: true }
    const parser = sax.parser(true, options) as XmlReader['parser']
    this.parser = parser
    parser.onerror = (error) => this.refuse(reasonOf(error))
    parser.ondoctype = () => this.refuse('a document type (<!DOCTYPE) is not allowed')
    parser.onsgmldeclaration = () => this.refuse('a declaration (<!…>) is not allowed')
    parser.onprocessinginstruction = ({ name, body }) => {
      const encoding = name === 'xml' ? /encoding\s*=\s*["']([^"']*)/.exec(body)?.[1] : undefined
      if (encoding !== undefined && !/^(?:utf-?8|us-ascii)$/i.test(encoding))
        this.refuse(`it is in ${encoding}; only UTF-8 is read: iconv turns it into that`)
    }
    // Not from the tag's record of attributes, in which sax loses `__proto__`.
    parser.onattribute = ({ name, value }) => {
      this.attrsLength += name.length + value.length
      if (this.attrs.length === MOST_ATTRIBUTES)
        this.refuse(`an element has more than ${MOST_ATTRIBUTES} attributes`)
      else if (this.attrsLength > LONGEST) this.refuse(TOO_LONG)
      else this.attrs.push([name, value])
    }
    parser.onopentag = ({ name }) => {
      const { attrs } = this
      this.attrs = []
      this.attrsLength = 0
      this.begun = true
      if (++this.depth > DEEPEST) this.refuse(`there are more than ${DEEPEST} elements in each other`)
      this.tell(() => {
        for (const [, value] of attrs) checkText(value)
        handler.open(name, attrs)
      })
    }
    parser.onclosetag = () => {
      this.depth--
      this.tell(() => handler.close())
    }
    const text = (text: string) => this.tell(() => handler.text(checkText(text)))
    parser.ontext = text
    parser.oncdata = text
  }

  /** Where it is. */
  get place(): Place {
    return { file: this.file, line: this.parser.line + 1, column: Math.max(this.parser.column, 1) }
  }

  /** @throws DataError if it is no XML as it may be here */
  write(chunk: string): void {
    this.feed(this.withLineFeeds(chunk))
  }

  /** The document is complete. @throws DataError */
  end(): void {
    if (this.endsWithReturn) this.feed('\n')
    try {
      this.parser.close()
    } catch (error) {
      this.refuse(reasonOf(error as Error))
    }
    if (!this.begun) this.refuse('there is nothing in it')
    if (this.failure !== undefined) throw this.failure
  }

  private feed(text: string): void {
    if (text === '') return
    try {
      this.parser.write(text)
      this.gathered += text.length
      if (this.gathered > GATHERED_AT_ONCE) this.putInOrder()
    } catch (error) {
      this.refuse(reasonOf(error as Error))
    }
    if (this.failure !== undefined) throw this.failure
  }

  /** Text need not be gathered. The rest grows by single characters, which take much room until somebody reads it. */
  private putInOrder(): void {
    this.gathered = 0
    this.parser.flush()
    for (const name of GATHERED) this.parser[name].charCodeAt(0)
  }

  /** Line ends are one character (XML 1.0 §2.11), which sax leaves to others. */
  private withLineFeeds(chunk: string): string {
    let text = this.endsWithReturn ? `\r${chunk}` : chunk
    this.endsWithReturn = text.endsWith('\r')
    if (this.endsWithReturn) text = text.slice(0, -1)
    return text.includes('\r') ? text.replace(/\r\n?/g, '\n') : text
  }

  private tell(what: () => void): void {
    if (this.failure !== undefined) return
    try {
      what()
    } catch (error) {
      if (!(error instanceof ContentError)) throw error
      this.refuse(error.message)
    }
  }

  private refuse(text: string): void {
    this.failure ??= new DataError(this.place, text)
  }
}

/** sax says where, in further lines. */
function reasonOf({ message }: Error): string {
  if (message.startsWith('Max buffer length exceeded')) return TOO_LONG
  return `this is no well-formed XML: ${message.split('\n', 1)[0]}`
}
