/** Which namespace a prefix stands for, at each place of a stream (Namespaces in XML 1.0). */

import { NS_XML, NS_XMLNS } from '../stanza/namespaces.ts'

const NO_PREFIXES: ReadonlyMap<string, string> = new Map()

/**
 * The declarations in force. Those of the stream header are kept apart from those within a stanza, so that
 * one can tell which prefixes a stanza borrows from outside.
 *
 * The default namespace has the prefix `''`.
 */
export class NamespaceScope {
  /** prefixes that the stream header declares, with the one of the stream namespace */
  stream: ReadonlyMap<string, string> = NO_PREFIXES
  /** the default namespace in force; `''` is none */
  default = ''
  /** prefixes of the stream header that the stanza uses, in order of use */
  readonly borrowed: string[] = []
  /** how many declarations of a default namespace are in force within the stanza */
  defaults = 0

  // Made when it is needed: most clients write none within their stanzas.
  private prefixes: Map<string, string> | undefined
  // What to put back when an element ends: pairs of a prefix and what it stood for before.
  private readonly undo: (string | undefined)[] = []

  /** To give to `release` when the element that is about to declare ends. */
  get mark(): number {
    return this.undo.length
  }

  /** Declares a prefix, or the default namespace (`''`), within the stanza. */
  declare(prefix: string, namespace: string): void {
    if (prefix === '') {
      this.undo.push(prefix, this.default)
      this.default = namespace
      this.defaults++
    } else {
      this.prefixes ??= new Map()
      this.undo.push(prefix, this.prefixes.get(prefix))
      this.prefixes.set(prefix, namespace)
    }
  }

  /** Takes back what was declared since `mark`. */
  release(mark: number): void {
    const { undo } = this
    while (undo.length > mark) {
      const previous = undo.pop()
      const prefix = undo.pop()!
      if (prefix === '') {
        this.default = previous!
        this.defaults--
      } else if (previous === undefined) this.prefixes!.delete(prefix)
      else this.prefixes!.set(prefix, previous)
    }
  }

  /**
   * Within the stanza nothing is declared any more.
   *
   * @returns what was: prefix → namespace
   */
  takeDeclared(): ReadonlyMap<string, string> {
    const declared = this.prefixes ?? NO_PREFIXES
    this.prefixes = undefined
    this.undo.length = 0
    this.defaults = 0
    this.borrowed.length = 0
    return declared
  }

  /** Forgets the stream. */
  reset(): void {
    this.takeDeclared()
    this.stream = NO_PREFIXES
    this.default = ''
  }

  /** The namespace of a prefix (not `''`); undefined if it is not declared. */
  resolve(prefix: string): string | undefined {
    const own = this.prefixes?.get(prefix)
    if (own !== undefined) return own
    if (prefix === 'xml') return NS_XML
    return this.stream.get(prefix)
  }

  /** As `resolve`, and notes a prefix that the stanza does not declare itself. */
  use(prefix: string): string | undefined {
    const own = this.prefixes?.get(prefix)
    if (own !== undefined) return own
    if (prefix === 'xml') return NS_XML
    const outer = this.stream.get(prefix)
    if (outer !== undefined && !this.borrowed.includes(prefix)) this.borrowed.push(prefix)
    return outer
  }
}

/**
 * What is wrong with a declaration (Namespaces in XML 1.0 §2.2, §3), or undefined.
 *
 * @param prefix - `''` for the default namespace
 */
export function declarationFault(prefix: string, namespace: string): string | undefined {
  if (prefix === 'xmlns') return 'the prefix xmlns can not be declared'
  if (prefix === 'xml') return namespace === NS_XML ? undefined : 'the prefix xml is bound to its namespace'
  if (namespace === NS_XML) return 'the XML namespace has the prefix xml and no other'
  if (namespace === NS_XMLNS) return 'the namespace of xmlns can not be declared'
  for (let at = 0; at < namespace.length; at++) {
    if (!mayBeInUri(namespace.charCodeAt(at))) return 'a namespace that is no URI'
  }
  if (namespace === '' && prefix !== '') return `xmlns:${prefix} is empty`
  return undefined
}

/**
 * Whether a character may be part of a URI, or of an IRI (RFC 3986 §2, RFC 3987 §2.2).
 *
 * Many parsers join a namespace and a local name with a space, `|` or `}` for those who use them: such a
 * character in a namespace makes one name look like another (CVE-2022-25236), or is refused by them.
 */
function mayBeInUri(c: number): boolean {
  return c > 0x9f || IN_URI[c] === 1
}

const IN_URI = new Uint8Array(0xa0).fill(1, 0x21, 0x7f)
for (const character of '"<>\\^`{|}') IN_URI[character.charCodeAt(0)] = 0
