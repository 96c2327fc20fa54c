/** Reads XML with sax, for files of any size: what a document may have, and where it stands. */

import sax from 'sax'
import { checkText } from './elements.ts'
import { ContentError, DataError, type Place } from './parts.ts'

/** Elements in each other. */
const DEEPEST = 256
/** Attributes of one element. */
const MOST_ATTRIBUTES = 1000

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
  private readonly parser: sax.SAXParser
  private failure: DataError | undefined
  private attrs: [string, string][] = []
  private depth = 0
  private begun = false
  private endsWithReturn = false

  constructor(file: string, handler: XmlHandler) {
    this.file = file
    const options: sax.SAXOptions & { strictEntities: boolean } = { strictEntities: true, position: true }
    const parser = sax.parser(true, options)
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
      if (this.attrs.length === MOST_ATTRIBUTES)
        this.refuse(`an element has more than ${MOST_ATTRIBUTES} attributes`)
      else this.attrs.push([name, value])
    }
    parser.onopentag = ({ name }) => {
      const { attrs } = this
      this.attrs = []
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
    try {
      if (text !== '') this.parser.write(text)
    } catch (error) {
      this.refuse(reasonOf(error as Error))
    }
    if (this.failure !== undefined) throw this.failure
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
  return `this is no well-formed XML: ${message.split('\n', 1)[0]}`
}
