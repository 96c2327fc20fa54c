/** What the tags of a stream mean: its header, its stanzas, their namespaces, and the limits they keep. */

import { Attributes } from '../stanza/attributes.ts'
import { NS_CLIENT, NS_COMPONENT, NS_SERVER, NS_STREAM, NS_XML } from '../stanza/namespaces.ts'
import { detached } from '../text.ts'
import { StreamError, type StreamErrorCondition } from './errors.ts'
import type { KnownHeaders } from './known-headers.ts'
import { declarationFault, NamespaceScope } from './namespaces.ts'
import type { Shape, ShapeTable } from './shape-table.ts'
import { isDeclaration, StartTag } from './start-tag.ts'
import { BETWEEN, CLOSED, START } from './states.ts'
import type { StreamHeader, TokenizerHandler, TokenizerLimits } from './tokenizer.ts'

export const NOT_WELL_FORMED = 'not-well-formed'

/** Attribute names that most stanzas have; found here they are not made again for each. */
const COMMON = new Map(['to', 'from', 'id', 'type', 'xml:lang', 'xmlns'].map((name) => [name, name]))

const NO_ATTRIBUTES = new Attributes()

/** What a stream may lose by stanzas of shapes that nobody knew, before looking for shapes is given up on it. */
export const MOST_CREDIT = 16

/** Gives the table of shapes for a content namespace, or none. */
export type ShapeTables = (defaultNs: string) => ShapeTable | undefined

/** The half of the scanner that is told of tags, and tells the handler of the header and of stanzas. */
export class Assembler {
  limits: TokenizerLimits
  /** Set by the owner, from within a handler, to stop after the stanza that is being handed over. */
  halted = false

  /** Another one after the session has been resumed that the stream is of. */
  handler: TokenizerHandler
  protected readonly scope = new NamespaceScope()
  protected readonly tag = new StartTag()

  protected state = START
  protected text = ''
  protected ascii = true

  // The header.
  protected headerRead = false
  protected streamName = ''
  protected defaultNs = ''

  // The token being read: where it begins in the text, or -1, and what earlier texts had of it.
  protected tokenStart = -1
  protected tokenLength = 0
  protected readonly tokenPieces: string[] = []
  /** where the colon is in the name being read, or -1 */
  protected colon = -1

  // The stanza, or the header: where it begins in the text (-1: there is none), and its bytes before the text.
  protected unitStart = -1
  protected unitBytes = 0
  protected depth = 0
  protected readonly openNames: string[] = []
  protected readonly marks: number[] = []

  // The top element of the stanza.
  protected name = ''
  protected xmlns = ''
  protected attrs = NO_ATTRIBUTES
  protected childCount = 0
  protected payloadName = ''
  protected payloadNs = ''
  // If it has a prefix: how many default namespaces were declared then; else -1.
  protected topDefaults = -1
  // Its content: where it begins in the text, what earlier texts had of it, and what to add to a place in
  // the text for the place in the content.
  protected innerStart = 0
  protected innerOffset = 0
  protected readonly innerPieces: string[] = []
  protected endTagAt = 0

  // Stanzas of known shapes: where they are looked for, the last one's, and whether that has been worth it.
  protected shapes: ShapeTable | undefined
  protected before: Shape | undefined
  protected credit = MOST_CREDIT

  // Where the stream begins in the text; -1 if it does not, or no more.
  protected streamStart = -1

  private readonly tableOf: ShapeTables
  private readonly headers: KnownHeaders | undefined

  constructor(
    handler: TokenizerHandler,
    limits: TokenizerLimits,
    tableOf: ShapeTables,
    headers: KnownHeaders | undefined,
  ) {
    this.handler = handler
    this.limits = limits
    this.tableOf = tableOf
    this.headers = headers
  }

  /** Expects a new stream. */
  reset(): void {
    this.scope.reset()
    this.forgetUnit()
    this.state = START
    this.headerRead = false
    this.streamStart = -1
    this.shapes = undefined
    this.before = undefined
  }

  /** Whether the stream has ended. */
  get closed(): boolean {
    return this.state === CLOSED
  }

  /** Lets go of strings that may have been cut from the text. */
  protected forgetTexts(): void {
    if (this.openNames.length === 0 && this.tag.name === '') return
    this.openNames.length = 0
    this.tag.begin('', -1)
    this.attrs = NO_ATTRIBUTES
    this.name = ''
    this.xmlns = ''
    this.payloadName = ''
    this.payloadNs = ''
  }

  /** Keeps what the text had of a token and of the content of an unfinished stanza. */
  protected endOfText(text: string): void {
    if (this.tokenStart >= 0) {
      const piece = text.slice(this.tokenStart)
      this.tokenPieces.push(piece)
      this.tokenLength += piece.length
      this.tokenStart = 0
    }
    if (this.depth > 0) {
      this.innerPieces.push(text.slice(this.innerStart))
      this.innerOffset += text.length
      this.innerStart = 0
    }
    if (this.unitTooLong(text.length)) throw this.tooLong()
    this.unitBytes = this.bytesTo(text.length)
    this.unitStart = 0
  }

  protected attributeNamed(written: string, at: number): void {
    const { tag, colon } = this
    const name = this.depth === 0 ? (COMMON.get(written) ?? written) : written
    if (tag.count >= this.limits.attributes) {
      const limit = this.limits.attributes
      throw this.refuse(at + 1, 'policy-violation', `more than ${limit} attributes on an element`)
    }
    if (tag.has(name)) throw this.refuse(at + 1, NOT_WELL_FORMED, `attribute ${name} twice`)
    tag.add(name, colon)
    // The declarations of this element come into force as they are read; they end with it.
    if (tag.count === 1) this.marks[this.depth] = this.scope.mark
  }

  protected lastDeclares(): boolean {
    const { tag } = this
    const last = tag.count - 1
    return isDeclaration(tag.names[last]!, tag.colons[last]!)
  }

  protected attributeRead(value: string, at: number): void {
    if (this.lastDeclares()) {
      const name = this.tag.names[this.tag.count - 1]!
      const prefix = name.slice(6)
      const fault = declarationFault(prefix, value)
      if (fault !== undefined) throw this.refuse(at, NOT_WELL_FORMED, fault)
      this.scope.declare(prefix, value)
    }
    if (this.depth === 0) this.tag.values.push(value)
  }

  /** Checks the prefixes of the attributes: declared, and no two with the same expanded name. */
  protected startTagRead(at: number): void {
    const { tag } = this
    if (tag.count === 0) this.marks[this.depth] = this.scope.mark
    const { prefixed } = tag
    if (prefixed.length === 0) return
    const expanded = prefixed.length > 1 ? new Set<string>() : undefined
    for (const k of prefixed) {
      const name = tag.names[k]!
      const colon = tag.colons[k]!
      const namespace = this.scope.use(name.slice(0, colon))
      if (namespace === undefined) throw this.undeclared(at, name)
      if (expanded === undefined) continue
      // A name holds no space, so the pair is told from every other.
      const pair = `${name.slice(colon + 1)} ${namespace}`
      if (expanded.has(pair)) throw this.refuse(at, NOT_WELL_FORMED, `attribute ${name} twice, by namespace`)
      expanded.add(pair)
    }
    // xml: is not among the prefixed. Another prefix can not stand for its namespace.
  }

  protected namespaceOfTag(at: number): string {
    const { tag, scope } = this
    if (tag.colon < 0) return scope.default
    const prefix = tag.name.slice(0, tag.colon)
    const namespace = this.depth === 0 ? scope.resolve(prefix) : scope.use(prefix)
    if (namespace === undefined) throw this.undeclared(at, tag.name)
    return namespace
  }

  /** The header is read, up to `at`; the stream goes on with the state `next`. */
  protected openStream(at: number, next: number): void {
    const { tag, scope } = this
    const namespace = this.namespaceOfTag(at)
    if (namespace !== NS_STREAM) {
      // RFC 6120 §4.9.3.10
      throw this.refuse(at, 'invalid-namespace', `the root element is not in the namespace ${NS_STREAM}`)
    }
    if (tag.localName !== 'stream') {
      // RFC 6120 §4.9.3.1
      throw this.refuse(at, 'bad-format', 'the root element is not a stream')
    }
    if (this.unitTooLong(at)) throw this.tooLong()
    const attrs = new Attributes()
    for (let k = 0; k < tag.count; k++) {
      const name = tag.names[k]!
      if (!isDeclaration(name, tag.colons[k]!)) attrs[copy(name)] = copy(tag.values[k]!)
    }
    const streamPrefix = tag.colon < 0 ? '' : tag.name.slice(0, tag.colon)
    const declared = new Map<string, string>()
    const prefixes = new Map<string, string>()
    for (const [prefix, uri] of scope.takeDeclared()) {
      const owned = copy(prefix)
      declared.set(owned, copy(uri))
      if (prefix !== streamPrefix) prefixes.set(owned, copy(uri))
    }
    const header = { attrs, defaultNs: copy(scope.default), prefixes }
    const streamName = copy(tag.name)
    this.beginStream(header, streamName, declared, next)
    // Once it is known that nobody minds.
    if (this.streamStart < 0 || next !== BETWEEN || !this.ascii) return
    let longestName = streamName.length
    for (const name of tag.names) longestName = Math.max(longestName, name.length)
    const text = copy(this.text.slice(this.streamStart, at))
    this.headers?.learn({ text, header, streamName, declared, attributes: tag.count, longestName })
  }

  /**
   * The stream begins, if it does with a header that has been read before.
   *
   * @param from - where it begins in the text
   * @returns where its header ends; `from` if it has to be read
   */
  protected recallStream(from: number): number {
    const known = this.headers?.find(this.text, from, this.limits)
    if (known === undefined) {
      this.streamStart = from
      return from
    }
    this.beginStream(known.header, known.streamName, known.declared, BETWEEN)
    return from + known.text.length
  }

  private beginStream(
    header: StreamHeader,
    streamName: string,
    declared: ReadonlyMap<string, string>,
    next: number,
  ): void {
    this.scope.stream = declared
    this.scope.default = header.defaultNs
    this.defaultNs = header.defaultNs
    this.streamName = streamName
    this.headerRead = true
    this.shapes = this.tableOf(header.defaultNs)
    this.forgetUnit()
    this.state = next
    this.handler.streamOpened(header)
  }

  protected closeStream(): void {
    this.forgetUnit()
    this.state = CLOSED
    this.handler.streamClosed()
  }

  /** A start tag within the stream is read, up to `at`. */
  protected openElement(at: number): void {
    const { tag, scope } = this
    const namespace = this.namespaceOfTag(at)
    if (this.depth === 0) {
      this.openStanza(at, namespace)
    } else {
      if (this.topDefaults >= 0 && tag.colon < 0 && scope.defaults === this.topDefaults) {
        // The top element is handed over without its prefix, so this one would be read in its namespace.
        if (namespace !== this.xmlns) {
          const child = tag.name
          const message = `${this.name} has a prefix, and its child ${child} inherits another namespace`
          throw this.refuse(at, 'bad-namespace-prefix', message)
        }
      }
      if (this.depth === 1 && ++this.childCount === 1) {
        this.payloadName = tag.localName
        this.payloadNs = namespace
      }
    }
    this.openNames[this.depth++] = tag.name
  }

  protected openStanza(at: number, namespace: string): void {
    const { tag, scope } = this
    if (tag.colon >= 0) this.checkTopPrefix(at, namespace)
    this.name = tag.localName
    this.xmlns = namespace
    this.childCount = 0
    this.payloadName = ''
    this.payloadNs = ''
    this.topDefaults = tag.colon < 0 ? -1 : scope.defaults
    const attrs = new Attributes()
    for (let k = 0; k < tag.count; k++) {
      const name = tag.names[k]!
      if (name !== 'xmlns') attrs[name] = tag.values[k]!
    }
    this.attrs = attrs
    this.innerStart = at
    this.innerOffset = -at
  }

  protected checkTopPrefix(at: number, namespace: string): void {
    // RFC 6120 §4.8.5: what is in the content namespace has no prefix. Nor can the XML namespace be written
    // without its own, and `xmlns` is no prefix of elements.
    if (
      namespace === this.defaultNs ||
      namespace === NS_CLIENT ||
      namespace === NS_SERVER ||
      namespace === NS_COMPONENT ||
      namespace === NS_XML
    ) {
      const message = `${this.tag.name}: elements of ${namespace} have no prefix here`
      throw this.refuse(at, 'bad-namespace-prefix', message)
    }
  }

  /** An element below the top one ends. */
  protected closeElement(): void {
    this.scope.release(this.marks[--this.depth]!)
  }

  /** The stanza is read, up to `at`: hands it over. */
  protected stanzaRead(at: number): void {
    if (this.unitTooLong(at)) throw this.tooLong()
    const { text, scope, attrs, innerPieces } = this
    let inner = ''
    if (innerPieces.length === 0) {
      if (this.endTagAt > 0) inner = text.slice(this.innerStart, this.innerStart + this.endTagAt)
    } else {
      // The end tag may have begun in an earlier text.
      innerPieces.push(text.slice(this.innerStart, at))
      inner = innerPieces.join('').slice(0, this.endTagAt)
    }
    scope.release(0)
    if (this.shapes !== undefined && this.credit > 0 && this.isWhole()) {
      this.before = this.shapes.learn(text.slice(this.unitStart, at))
    }
    for (const prefix of scope.borrowed) attrs[`xmlns:${prefix}`] = scope.stream.get(prefix)!
    this.forgetUnit()
    this.state = BETWEEN
    const { name, xmlns, childCount, payloadName, payloadNs } = this
    this.handler.element(name, xmlns, attrs, inner, childCount, payloadName, payloadNs)
  }

  /** Whether all of the stanza is here, and stands for itself: an iq, message or presence whose shape may be kept. */
  private isWhole(): boolean {
    const { name } = this
    return (
      this.innerPieces.length === 0 &&
      this.unitBytes === 0 &&
      this.topDefaults < 0 &&
      this.scope.borrowed.length === 0 &&
      this.xmlns === this.defaultNs &&
      (name === 'iq' || name === 'message' || name === 'presence')
    )
  }

  protected forgetUnit(): void {
    this.unitStart = -1
    this.unitBytes = 0
    this.depth = 0
    this.endTagAt = 0
    this.tokenStart = -1
    this.tokenLength = 0
    this.tokenPieces.length = 0
    this.innerPieces.length = 0
    this.scope.borrowed.length = 0
  }

  protected bytesTo(at: number): number {
    const from = this.unitStart
    if (this.ascii) return this.unitBytes + at - from
    return this.unitBytes + Buffer.byteLength(this.text.slice(from, at))
  }

  protected unitTooLong(at: number): boolean {
    const limit = this.limits.stanzaBytes
    // A UTF-16 code unit has at most three bytes in UTF-8: mostly there is nothing to count.
    if (this.unitBytes + (at - this.unitStart) * 3 <= limit) return false
    return this.bytesTo(at) > limit
  }

  protected tooLong(): StreamError {
    const what = this.headerRead ? 'a stanza' : 'the stream header'
    return new StreamError('policy-violation', `${what} is longer than ${this.limits.stanzaBytes} bytes`)
  }

  protected undeclared(at: number, name: string): StreamError {
    return this.refuse(at, NOT_WELL_FORMED, `the prefix of ${name} is not declared`)
  }

  /**
   * The reason to end the stream.
   *
   * @param at - after the character that is refused. If the limit is passed before it, that is the reason,
   *   so that what a peer is told does not depend on how its bytes are cut
   */
  protected refuse(at: number, condition: StreamErrorCondition, message: string): StreamError {
    if (this.unitStart >= 0 && this.unitTooLong(at)) return this.tooLong()
    return new StreamError(condition, message)
  }
}

/** A string that keeps no chunk alive. */
export const copy = detached
