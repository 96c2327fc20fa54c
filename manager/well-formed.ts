/** Whether an element can be written as XML: libraries write whatever they are given. */

import type { Element } from '@xmpp/xml'

/** What XML can not hold (XML 1.0 §2.2), lone surrogates too. */
const NO_XML_CHARACTER = /[^\t\n\r\u0020-\uD7FF\uE000-\uFFFD\u{10000}-\u{10FFFF}]/u

/** XML 1.0 §2.3, without the colon. */
const NAME_START =
  'A-Z_a-z\\u{C0}-\\u{D6}\\u{D8}-\\u{F6}\\u{F8}-\\u{2FF}\\u{370}-\\u{37D}\\u{37F}-\\u{1FFF}\\u{200C}\\u{200D}' +
  '\\u{2070}-\\u{218F}\\u{2C00}-\\u{2FEF}\\u{3001}-\\u{D7FF}\\u{F900}-\\u{FDCF}\\u{FDF0}-\\u{FFFD}\\u{10000}-\\u{EFFFF}'
const NC_NAME = `[${NAME_START}][${NAME_START}\\-.0-9\\u{B7}\\u{300}-\\u{36F}\\u{203F}\\u{2040}]*`

/** Namespaces in XML §4: a name, perhaps with a prefix. */
const NAME = new RegExp(`^(?:(${NC_NAME}):)?${NC_NAME}$`, 'u')

const PREDECLARED: ReadonlySet<string> = new Set(['xml', 'xmlns'])

/** Elements come from whichever copy of `@xmpp/xml` the program has, so their class does not tell. */
export function isElement(value: unknown): value is Element {
  if (typeof value !== 'object' || value === null) return false
  const { name, attrs, children, getNS, write } = value as Record<string, unknown>
  return (
    typeof name === 'string' &&
    typeof attrs === 'object' &&
    attrs !== null &&
    Array.isArray(children) &&
    typeof getNS === 'function' &&
    typeof write === 'function'
  )
}

export function isXmlText(text: string): boolean {
  return !NO_XML_CHARACTER.test(text)
}

/**
 * Why an element can not be written by itself, to stand after the element's name; undefined if it can.
 *
 * @param outside - prefixes that are declared around it
 */
export function misfit(element: Element, outside: ReadonlySet<string> = PREDECLARED): string | undefined {
  // Attributes without a value are not written.
  const attrs = Object.entries(element.attrs).filter(([, value]) => value !== undefined && value !== null)
  const declared = attrs.map(([name]) => name).filter((name) => name.startsWith('xmlns:'))
  const prefixes =
    declared.length === 0 ? outside : new Set([...outside, ...declared.map((name) => name.slice(6))])
  for (const name of [element.name, ...attrs.map(([name]) => name)]) {
    const parts = NAME.exec(name)
    if (parts === null) return `has the name ${JSON.stringify(name)}, which is none in XML`
    if (parts[1] !== undefined && !prefixes.has(parts[1])) return `does not declare the prefix of ${name}`
  }
  for (const name of declared) if (element.attrs[name] === '') return `declares ${name} to be nothing`
  const children = element.children as readonly unknown[]
  const texts = [...attrs.map(([, value]) => value), ...children.filter((child) => !isElement(child))]
  for (const text of texts) {
    const character = NO_XML_CHARACTER.exec(String(text ?? ''))?.[0]
    if (character === undefined) continue
    const code = character.codePointAt(0)!.toString(16).toUpperCase().padStart(4, '0')
    return `has U+${code}, which XML can not hold`
  }
  for (const child of children) {
    const reason = isElement(child) ? misfit(child, prefixes) : undefined
    if (reason !== undefined) return reason
  }
  return undefined
}
