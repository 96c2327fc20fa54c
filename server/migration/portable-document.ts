/**
 * One document of the Portable Import/Export Format (XEP-0227): its elements to the pieces of accounts.
 *
 * What it has of an account is told as it comes; only one contact, message or the like is in memory at a time.
 */

import { Element } from '@xmpp/xml'
import { emptyAttributes } from '../stanza/attributes.ts'
import { ownJid } from './content.ts'
import { checkName, ImportedElement, NS_PIE } from './elements.ts'
import { type AccountPart, ContentError, type Part, type Place } from './parts.ts'
import { type ElementParts, LISTS, listPart, partsOf, WHOLE_ELEMENTS } from './portable-elements.ts'
import type { XmlHandler } from './xml-events.ts'

const NS_XINCLUDE = 'http://www.w3.org/2001/XInclude'
/** Characters of one contact, message, vCard. */
const LARGEST = 10_000_000
/** Elements and attributes in it: each takes some hundred bytes, however short it is written. */
const MOST_NODES = 200_000
/** Elements in each other. */
const DEEPEST = 256
/** Attributes of one element. */
const MOST_ATTRIBUTES = 1000

/** Where in an export something stands: nowhere yet, in `<server-data/>`, in a host, in one of its users. */
export interface Context {
  readonly host?: string
  readonly username?: string
  /** Of the element that has it. */
  readonly level: 'document' | 'server-data' | 'host' | 'user'
}

/** Another file that is to be read in place of an element (XEP-0227 §4). */
export interface Include {
  readonly kind: 'include'
  readonly href: string
  readonly place: Place
  readonly context: Context
}

/** Declarations of namespaces that count for an element; `element` has them, for what is in it. */
interface Scope {
  readonly parent: Scope | undefined
  readonly element: Element
}

type Level =
  | { readonly kind: Context['level'] }
  /** Children of it are pieces of the account. */
  | { readonly kind: 'list'; readonly parts: ElementParts }
  | { readonly kind: 'whole' }
  | { readonly kind: 'skipped' }

/** Takes the events of one document. */
export class PortableDocument implements XmlHandler {
  /** What has been found and not been taken yet. */
  found: (Part | Include)[] = []
  private readonly place: () => Place
  private readonly levels: Level[]
  private readonly scopes: Scope[] = []
  /** The document's own elements begin in this depth of levels. */
  private readonly begin: Context
  private host: string | undefined
  private username: string | undefined
  /** Something of the account is wrong: the rest of it is passed over. */
  private isBroken = false
  /** The element that is being gathered, and the innermost one that is open. */
  private root: Element | undefined
  private current: Element | undefined
  private rootPlace: Place | undefined
  private size = 0
  private nodes = 0
  private parts: ElementParts | undefined

  /** @param begin - where the document stands in the export; the whole of it is at level `document` */
  constructor(begin: Context, place: () => Place) {
    this.begin = begin
    this.place = place
    this.levels = [{ kind: begin.level }]
    this.host = begin.host
    this.username = begin.username
  }

  /** Whether it has begun an account that has not ended. */
  get isInAccount(): boolean {
    return this.username !== undefined && this.begin.level !== 'user'
  }

  open(name: string, attrs: [name: string, value: string][]): void {
    if (this.levels.length > DEEPEST) this.refuse(`there are more than ${DEEPEST} elements in each other`)
    if (attrs.length > MOST_ATTRIBUTES) this.refuse(`an element has more than ${MOST_ATTRIBUTES} attributes`)
    const element = new ImportedElement(name)
    const own = emptyAttributes()
    for (const [key, value] of attrs) own[key] = value
    element.attrs = own
    const outer = this.scopes.at(-1)
    element.parent = this.current ?? outer?.element ?? null
    const declares = attrs.some(([key]) => key === 'xmlns' || key.startsWith('xmlns:'))
    const level = this.levels.at(-1)!
    if (level.kind === 'skipped') {
      this.levels.push(level)
      this.scopes.push(outer!)
      return
    }
    if (this.root !== undefined) {
      this.levels.push({ kind: 'whole' })
      this.gather(element, attrs)
      return
    }
    // Only what it declares counts for what is in it.
    const scope =
      outer !== undefined && !declares ? outer : { parent: outer, element: scopeElement(own, outer) }
    this.scopes.push(scope)
    this.levels.push(this.enter(level, element, attrs))
  }

  close(): void {
    const level = this.levels.pop()!
    if (level.kind === 'whole') {
      if (this.current === this.root) {
        this.finishRoot()
        this.scopes.pop()
      } else this.current = this.current!.parent as Element
      return
    }
    this.scopes.pop()
    if (level.kind === 'user') {
      this.found.push({ kind: 'end' })
      this.username = undefined
      this.isBroken = false
    } else if (level.kind === 'host') this.host = undefined
  }

  text(text: string): void {
    if (this.current !== undefined) {
      this.grow(text.length)
      if (this.isBroken) return
      const { children } = this.current
      const last = children.at(-1)
      if (typeof last === 'string') children[children.length - 1] = last + text
      else children.push(text)
      return
    }
    if (this.levels.at(-1)!.kind === 'skipped' || /^\s*$/.test(text)) return
    this.broken(this.place(), 'there is text where only elements can be')
  }

  /** What an element is, where no other is being gathered. */
  private enter(level: Level, element: Element, attrs: [string, string][]): Level {
    const name = element.getName()
    const namespace = (element.getNS() ?? '') as string
    if (level.kind === 'list') return this.beginRoot(level.parts, element, attrs)
    if (namespace === NS_XINCLUDE) return this.include(level, element)
    if (namespace === NS_PIE) {
      if (level.kind === 'document' && name === 'server-data') return { kind: 'server-data' }
      if (level.kind === 'server-data' && name === 'host') return this.enterHost(element)
      if (level.kind === 'host' && name === 'user') return this.enterUser(element)
    }
    if (level.kind === 'document') {
      throw new ContentError(
        `<${element.name}/> of "${namespace}" begins no export: that is <server-data/> of "${NS_PIE}"`,
      )
    }
    if (level.kind === 'user') {
      if (this.isBroken) return SKIPPED
      const list = LISTS.get(`${name} ${namespace}`)
      if (list !== undefined) {
        const part = listPart(list, element)
        if (part !== undefined) this.found.push(part)
        return { kind: 'list', parts: list }
      }
      const whole = WHOLE_ELEMENTS.get(`${name} ${namespace}`)
      if (whole !== undefined) return this.beginRoot(whole, element, attrs)
    }
    this.found.push({ kind: 'ignored', what: `<${name} xmlns="${namespace}"/>`, place: this.place() })
    return SKIPPED
  }

  private enterHost({ attrs }: Element): Level {
    const jid = attrs['jid'] as string | undefined
    if (jid === undefined) {
      this.found.push({
        kind: 'failure',
        place: this.place(),
        text: 'a host has no jid: nothing of it is imported',
      })
      return SKIPPED
    }
    this.host = jid
    return { kind: 'host' }
  }

  private enterUser({ attrs }: Element): Level {
    const name = attrs['name'] as string | undefined
    if (name === undefined) {
      this.found.push({
        kind: 'failure',
        place: this.place(),
        text: 'a user has no name, and is not imported',
      })
      return SKIPPED
    }
    this.username = name
    this.isBroken = false
    this.found.push({ kind: 'begin', host: this.host!, username: name, place: this.place() })
    const password = attrs['password'] as string | undefined
    if (password !== undefined && password !== '') this.found.push({ kind: 'password', password })
    return { kind: 'user' }
  }

  private include(level: Level, { name, attrs }: Element): Level {
    const kind = level.kind as Context['level']
    if (name.slice(name.indexOf(':') + 1) !== 'include' || kind === 'document') return SKIPPED
    const { href, parse, xpointer } = attrs as Record<string, string | undefined>
    if (href === undefined || parse !== undefined || xpointer !== undefined) {
      const text = 'an include has to have a href, and no parse and no xpointer'
      if (kind === 'user') this.broken(this.place(), text)
      else this.found.push({ kind: 'failure', place: this.place(), text })
      return SKIPPED
    }
    const context: Context = {
      level: kind,
      ...(this.host !== undefined && { host: this.host }),
      ...(this.username !== undefined && { username: this.username }),
    }
    this.found.push({ kind: 'include', href, place: this.place(), context })
    return SKIPPED
  }

  private beginRoot(parts: ElementParts, element: Element, attrs: [string, string][]): Level {
    if (this.isBroken) return SKIPPED
    this.root = element
    this.rootPlace = this.place()
    this.parts = parts
    this.size = 0
    this.nodes = 0
    this.current = element
    this.check(element, attrs)
    return { kind: 'whole' }
  }

  private gather(element: Element, attrs: [string, string][]): void {
    // What comes of something broken is read, and let go.
    if (!this.isBroken) this.current!.children.push(element)
    this.current = element
    this.check(element, attrs)
  }

  private check(element: Element, attrs: [string, string][]): void {
    let size = element.name.length
    try {
      checkName(element.name)
      for (const [name, value] of attrs) {
        checkName(name)
        size += name.length + value.length
      }
    } catch (error) {
      if (!(error instanceof ContentError)) throw error
      this.broken(this.place(), error.message)
    }
    this.nodes += 1 + attrs.length
    if (this.nodes > MOST_NODES)
      this.broken(
        this.rootPlace!,
        `<${this.root!.name}/> has more than ${MOST_NODES} elements and attributes`,
      )
    this.grow(size)
  }

  private grow(length: number): void {
    this.size += length
    if (this.size <= LARGEST || this.isBroken) return
    this.broken(this.rootPlace!, `<${this.root!.name}/> is larger than ${LARGEST / 1e6} MB`)
  }

  private finishRoot(): void {
    const { root, parts, rootPlace } = this
    this.root = undefined
    this.current = undefined
    if (this.isBroken) return
    try {
      const account = { own: ownJid(this.username!, this.host!), host: this.host! }
      for (const part of partsOf(parts!, root!, account)) this.found.push(part as AccountPart)
    } catch (error) {
      if (!(error instanceof ContentError)) throw error
      this.broken(rootPlace!, error.message)
    }
  }

  /** Within an account it is that one's matter only. */
  private refuse(text: string): void {
    if (this.username === undefined) throw new ContentError(text)
    this.broken(this.place(), text)
  }

  private broken(place: Place, text: string): void {
    if (this.username === undefined) {
      this.found.push({ kind: 'failure', place, text })
      return
    }
    if (this.isBroken) return
    this.isBroken = true
    this.found.push({ kind: 'broken', place, text })
  }
}

const SKIPPED: Level = { kind: 'skipped' }

function scopeElement(attrs: Record<string, string>, outer: Scope | undefined): Element {
  const element = new Element('scope')
  const declared = emptyAttributes()
  for (const name in attrs) if (name === 'xmlns' || name.startsWith('xmlns:')) declared[name] = attrs[name]!
  element.attrs = declared
  element.parent = outer?.element ?? null
  return element
}
