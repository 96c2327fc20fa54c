/** Elements that are imported, as the text that stores keep: what is written there goes to clients as it stands. */

import { Element } from '@xmpp/xml'
import { NS_CLIENT, NS_XML } from '../stanza/namespaces.ts'
import { escapeText, serialize } from '../stanza/serialize.ts'
import { buildChildren } from '../stanza/tree.ts'
import { CLASS, IS_NAME, IS_NAME_START } from '../stream/chars.ts'
import { declarationFault } from '../stream/namespaces.ts'
import { ContentError } from './parts.ts'

export const NS_PIE = 'urn:xmpp:pie:0'

/** An element that is imported. `@xmpp/xml` takes `xmlns=''` for none, and looks on upwards. */
export class ImportedElement extends Element {
  override findNS(prefix?: string): string {
    const own = (this.attrs as Record<string, string | undefined>)[prefix ? `xmlns:${prefix}` : 'xmlns']
    return own ?? (this.parent?.findNS(prefix) as string)
  }
}

/** Not characters of XML 1.0 (§2.2). */
const ILLEGAL = /[\0-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]|\p{Surrogate}/u

/** @throws ContentError if a text has characters that XML does not allow */
export function checkText(text: string): string {
  const [character] = ILLEGAL.exec(text) ?? []
  if (character === undefined) return text
  const code = character.charCodeAt(0).toString(16).toUpperCase().padStart(4, '0')
  throw new ContentError(`there is a character that XML does not allow (U+${code})`)
}

/** @throws ContentError if this can be no name, with or without a prefix (Namespaces in XML §4) */
export function checkName(name: string): string {
  const colon = name.indexOf(':')
  if (isPart(name.slice(colon + 1)) && (colon < 0 || isPart(name.slice(0, colon)))) return name
  throw new ContentError(`"${name}" is no name that an element or an attribute can have`)
}

function isPart(name: string): boolean {
  if (name === '' || (CLASS[name.charCodeAt(0)]! & IS_NAME_START) === 0) return false
  for (let at = 1; at < name.length; at++) if ((CLASS[name.charCodeAt(at)]! & IS_NAME) === 0) return false
  return true
}

/**
 * The text of an element, with the namespaces that it has from its parents.
 *
 * @param implied - default namespaces that it has where it will stand, too
 * @throws ContentError if a prefix is not declared, or as none may be (Namespaces in XML §3), or an element has two
 *   attributes with the same namespace and name (§6.3): who it is sent to would have to end the stream
 */
export function standalone(element: Element, implied: readonly string[] = []): string {
  const missing: Record<string, string> = {}
  collect(element, element, new Set(), missing, implied)
  const own = element.attrs
  element.attrs = { ...missing, ...own }
  const text = serialize(element)
  element.attrs = own
  return text
}

/** Notes which declarations an element and what is in it have from outside of `top`. */
function collect(
  top: Element,
  element: Element,
  outer: ReadonlySet<string>,
  missing: Record<string, string>,
  implied: readonly string[],
): void {
  const attrs = element.attrs as Record<string, string>
  let declared = outer
  const need = (prefix: string): void => {
    const name = prefix === '' ? 'xmlns' : `xmlns:${prefix}`
    if (prefix === 'xml' || declared.has(name)) return
    const namespace = (top.parent?.findNS(prefix) ?? '') as string
    if (prefix !== '' && namespace === '') throw new ContentError(`the prefix "${prefix}:" is not declared`)
    if (prefix === '' && implied.includes(namespace)) return
    checkDeclaration(name, namespace)
    missing[name] = namespace
  }
  const own = Object.keys(attrs).filter(isDeclaration)
  for (const name of own) checkDeclaration(name, attrs[name]!)
  if (own.length > 0) declared = new Set([...outer, ...own])
  need(prefixOf(element.name))
  const prefixed = Object.keys(attrs).filter((name) => name.includes(':') && !isDeclaration(name))
  for (const name of prefixed) need(prefixOf(name))
  if (prefixed.length > 1) checkDifferent(element, prefixed)
  for (const child of element.children as (Element | string)[]) {
    if (typeof child === 'object') collect(top, child, declared, missing, implied)
  }
}

/** @throws ContentError if a namespace can not be declared by this attribute */
function checkDeclaration(name: string, namespace: string): void {
  const fault = declarationFault(name === 'xmlns' ? '' : name.slice('xmlns:'.length), namespace)
  if (fault !== undefined) throw new ContentError(`a declaration of a namespace is wrong: ${fault}`)
}

/** @throws ContentError if two of these attributes, which have prefixes, are one */
function checkDifferent(element: Element, names: readonly string[]): void {
  const expanded = names.map((name) => {
    const prefix = prefixOf(name)
    return `${name.slice(prefix.length + 1)} ${prefix === 'xml' ? NS_XML : element.findNS(prefix)}`
  })
  if (new Set(expanded).size < names.length)
    throw new ContentError(`<${element.name}/> has the same attribute twice, with two prefixes`)
}

function isDeclaration(name: string): boolean {
  return name === 'xmlns' || name.startsWith('xmlns:')
}

function prefixOf(name: string): string {
  const colon = name.indexOf(':')
  return colon < 0 ? '' : name.slice(0, colon)
}

/** What stands between the tags of a stanza, on its own. @throws ContentError */
export function contentText(stanza: Element): string {
  let text = ''
  for (const child of stanza.children as (Element | string)[]) {
    // Where nothing else is said, what is in a stanza is of its namespace.
    text += typeof child === 'string' ? escapeText(child) : standalone(child, [NS_CLIENT, NS_PIE])
  }
  return text
}

/** The attributes of a stanza, without declarations and without those of other namespaces. */
export function stanzaAttributes(stanza: Element): Record<string, string> {
  const attrs: Record<string, string> = {}
  for (const [name, value] of Object.entries(stanza.attrs as Record<string, string>)) {
    if (!isDeclaration(name) && (!name.includes(':') || name.startsWith('xml:'))) attrs[name] = value
  }
  return attrs
}

/** The same text, written as it is after an import: with one kind of quotes, and so on. */
export function uniform(inner: string): string {
  const parent = new Element('message', { xmlns: NS_CLIENT })
  return buildChildren(inner, parent)
    .map((child) => (typeof child === 'string' ? escapeText(child) : serialize(child)))
    .join('')
}
