/** A stanza: an element that keeps the text it arrived as, and grows its tree when somebody looks. */

import { Element } from '@xmpp/xml'
import type { Pattern } from '../stream/shapes.ts'
import { NS_CLIENT } from './namespaces.ts'
import { buildChildren, escapeAttribute, escapeText, payloadAttributes, serialize } from './tree.ts'

export type Attributes = Record<string, string | undefined>
export type Child = Element | string

/** The content of a stanza, and where its parts are. */
export interface LocatedText {
  readonly pattern: Pattern
  readonly cuts: readonly number[]
  readonly text: string
}

/** Stands for a number of children that has not been counted. */
const UNKNOWN = -1

/**
 * A first-level child of a stream: message, presence, iq, or another element with its own namespace.
 *
 * It is an `@xmpp/xml` element. Until `children` is read it holds the text between its tags as it was
 * received, and is written out from it; from then on the tree counts. A stanza in the content namespace
 * (`jabber:client` for whoever reads it) bears no `xmlns` attribute, as in Prosody.
 */
export class Stanza extends Element {
  declare attrs: Record<string, string>
  declare children: Child[]
  // Text and tree: exactly one of the two is there.
  private textContent: string | undefined
  private elements: Child[] | undefined
  private firstName = ''
  private firstNs = ''
  private elementCount = 0
  private pattern: Pattern | undefined
  private cuts: readonly number[] | undefined

  /**
   * @param name - local name: `message`, `presence`, `iq` …
   * @param attrs - attributes; those that are `undefined` are left out when written
   * @param children - elements and texts
   */
  constructor(name: string, attrs?: Attributes, ...children: Child[]) {
    super(name)
    if (attrs !== undefined) this.attrs = attrs as Record<string, string>
    for (const child of children) this.append(child)
  }

  /**
   * A stanza around content that was accepted before, of which no more is known.
   *
   * @param name - local name
   * @param attrs - its attributes; kept, not copied
   * @param inner - its content; must stand on its own
   */
  static fromInner(name: string, attrs: Record<string, string>, inner: string): Stanza {
    return Stanza.fromText(name, attrs, inner, UNKNOWN, '', '')
  }

  /**
   * A stanza from text that the tokenizer has accepted.
   *
   * @param name - local name
   * @param attrs - its attributes; kept, not copied
   * @param inner - the text between its tags; must stand on its own (no prefix from outside)
   * @param elementCount - how many child elements `inner` has
   * @param payloadName - local name of the first of them, `''` if there is none
   * @param payloadNs - its namespace
   */
  static fromText(
    name: string,
    attrs: Record<string, string>,
    inner: string,
    elementCount: number,
    payloadName: string,
    payloadNs: string,
  ): Stanza {
    return new TextStanza(name, attrs, inner, elementCount, payloadName, payloadNs)
  }

  /**
   * Notes the shape that the tokenizer has found it to have.
   *
   * @param cuts - where its values are, if they are known
   */
  fits(pattern: Pattern, cuts: readonly number[] | undefined): void {
    this.pattern = pattern
    this.cuts = cuts
  }

  /**
   * The shape of the text, for whoever wants to find its parts without reading it again; undefined if there is
   * none. Asking is what makes the tokenizer note it for stanzas to come: the first of a shape has none.
   */
  get located(): LocatedText | undefined {
    const { pattern, cuts, textContent } = this
    if (pattern === undefined || textContent === undefined) return undefined
    if (cuts !== undefined) return { pattern, cuts, text: textContent }
    pattern.located = true
    return undefined
  }

  /** Whether the stanza is still the text it came as. */
  get isText(): boolean {
    return this.textContent !== undefined
  }

  /** The text between the tags. */
  get inner(): string {
    if (this.textContent !== undefined) return this.textContent
    let text = ''
    for (const child of this.children)
      text += typeof child === 'object' ? serialize(child) : escapeText(String(child))
    return text
  }

  /** How many child elements there are; an IQ get or set has one (RFC 6120 §8.2.3). */
  get childCount(): number {
    if (this.textContent !== undefined && this.elementCount !== UNKNOWN) return this.elementCount
    let count = 0
    for (const child of this.children) if (typeof child === 'object') count++
    return count
  }

  /** The first child element, or undefined. Builds the tree. */
  get payload(): Element | undefined {
    for (const child of this.children) if (typeof child === 'object') return child
    return undefined
  }

  /** Local name of the first child element; `''` if there is none. Does not build the tree. */
  get payloadName(): string {
    return this.textContent !== undefined && this.elementCount !== UNKNOWN
      ? this.firstName
      : (this.payload?.getName() ?? '')
  }

  /** Namespace of the first child element; `''` if there is none. Does not build the tree. */
  get payloadNs(): string {
    return this.textContent !== undefined && this.elementCount !== UNKNOWN
      ? this.firstNs
      : (this.payload?.getNS() ?? '')
  }

  /** Attributes of the first child element, as written. Does not build the tree. */
  get payloadAttrs(): Record<string, string | undefined> {
    if (this.textContent !== undefined) return payloadAttributes(this.textContent)
    return this.payload?.attrs ?? {}
  }

  /**
   * Appends an element that is written already. A stanza that is text stays text.
   *
   * @param text - one element, which must stand on its own
   * @param name - its local name
   * @param xmlns - its namespace
   */
  appendWritten(text: string, name: string, xmlns: string): void {
    if (this.textContent === undefined) {
      for (const child of buildChildren(text, this)) this.append(child)
      return
    }
    this.textContent += text
    this.pattern = undefined
    if (this.elementCount === UNKNOWN) return
    if (this.elementCount++ > 0) return
    this.firstName = name
    this.firstNs = xmlns
  }

  /** A copy that can be given other attributes or children without changing this one. */
  clone(): Stanza {
    if (this.textContent !== undefined) {
      const { textContent, elementCount, firstName, firstNs } = this
      return Stanza.fromText(this.name, { ...this.attrs }, textContent, elementCount, firstName, firstNs)
    }
    const copy = new Stanza(this.name, { ...this.attrs })
    for (const child of this.children) copy.append(cloneChild(child))
    return copy
  }

  override getText(): string {
    const text = this.textContent
    // A reference, a CDATA section or the end of a line is not what it is written as.
    if (text !== undefined && this.elementCount === 0 && !/[<&\r]/.test(text)) return text
    return super.getText()
  }

  override findNS(prefix?: string): string {
    // A stanza without xmlns is in the content namespace.
    if (!prefix) return this.attrs.xmlns ?? NS_CLIENT
    return super.findNS(prefix) as string
  }

  override toString(): string {
    return writeElement(this.name, this.attrs, this.inner)
  }

  /** Used by the accessor below. */
  readTree(): Child[] {
    if (this.elements === undefined) {
      this.elements = buildChildren(this.textContent ?? '', this)
      this.textContent = undefined
    }
    return this.elements
  }

  writeTree(children: Child[]): void {
    this.elements = children
    this.textContent = undefined
  }
}

// Element's constructor assigns `children`, so it has to be an accessor of the prototype, which a
// class body can not declare over a property of its base.
Object.defineProperty(Stanza.prototype, 'children', {
  get(this: Stanza): Child[] {
    return this.readTree()
  },
  set(this: Stanza, children: Child[]) {
    this.writeTree(children)
  },
  configurable: true,
  enumerable: true,
})

/** The fields of a stanza, those that are nobody else's included. */
interface TextParts {
  name: string
  parent: Element | null
  attrs: Record<string, string>
  textContent: string | undefined
  elements: Child[] | undefined
  firstName: string
  firstNs: string
  elementCount: number
  pattern: Pattern | undefined
  cuts: readonly number[] | undefined
}

/**
 * Makes what `Stanza.fromText` gives: the same as the class makes, without the attributes and children that the
 * constructor of `Element` would make first, to be thrown away.
 */
const TextStanza = function TextStanza(
  this: TextParts,
  name: string,
  attrs: Record<string, string>,
  inner: string,
  elementCount: number,
  payloadName: string,
  payloadNs: string,
): void {
  this.name = name
  this.parent = null
  this.attrs = attrs
  this.textContent = inner
  this.elements = undefined
  this.firstName = payloadName
  this.firstNs = payloadNs
  this.elementCount = elementCount
  this.pattern = undefined
  this.cuts = undefined
} as unknown as new (
  ...parts: Parameters<typeof Stanza.fromText>
) => Stanza
TextStanza.prototype = Stanza.prototype

function cloneChild(child: Child): Child {
  if (typeof child !== 'object') return child
  const copy = new Element(child.name, { ...child.attrs })
  for (const grandchild of child.children as Child[]) copy.append(cloneChild(grandchild))
  return copy
}

/**
 * Writes an element around text that is XML already.
 *
 * @param name - the element's name
 * @param attrs - its attributes; `undefined` ones are left out
 * @param inner - its content
 */
export function writeElement(name: string, attrs: Attributes, inner: string): string {
  const tag = `<${name}${writeAttributes(attrs)}`
  return inner === '' ? `${tag}/>` : `${tag}>${inner}</${name}>`
}

/**
 * Writes attributes as they stand in a start tag: a space before each.
 *
 * @param attrs - `undefined` ones are left out
 * @param except - the name of one that is left out
 */
export function writeAttributes(attrs: Attributes, except?: string): string {
  let text = ''
  for (const name in attrs) {
    const value = attrs[name]
    if (value === undefined || value === null || name === except) continue
    text += (text === '' ? firstAttribute(name) : nextAttribute(name)) + escapeAttribute(value)
  }
  return text === '' ? '' : `${text}'`
}

function firstAttribute(name: string): string {
  // Mostly it is one of these, and nothing has to be joined: what is joined is gone through again to be sent.
  if (name === 'type') return " type='"
  if (name === 'to') return " to='"
  if (name === 'id') return " id='"
  return name === 'from' ? " from='" : ` ${name}='`
}

/** From the end of one attribute to the value of another. */
export function nextAttribute(name: string): string {
  if (name === 'type') return "' type='"
  if (name === 'to') return "' to='"
  if (name === 'id') return "' id='"
  return name === 'from' ? "' from='" : `' ${name}='`
}
