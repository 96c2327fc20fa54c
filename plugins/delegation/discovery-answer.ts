/** What a manager wants to have announced: anything may stand in its answer, only service discovery comes out (D3). */

import {
  detached,
  type Element,
  NS_DATA,
  NS_DISCO_INFO,
  type Stanza,
  serialize,
  writeElement,
  xml,
} from '../../server/index.ts'
import type { AnnouncedIdentity } from '../disco/index.ts'

/** Everything that one node announces (XEP-0030 §3, XEP-0128). */
export interface Announced {
  readonly identities: readonly AnnouncedIdentity[]
  readonly features: readonly string[]
  /** Forms of type `result`, each with its FORM_TYPE. */
  readonly forms: readonly Element[]
}

/** Characters of an answer, as it came and as it is written again: every account's disco#info will bear them. */
const LARGEST_ANSWER = 32_768
/** Elements of an answer. */
const MOST_ELEMENTS = 400
/** Of XEP-0004 §3.3. */
const FIELD_TYPES = new Set([
  'boolean',
  'fixed',
  'hidden',
  'jid-multi',
  'jid-single',
  'list-multi',
  'list-single',
  'text-multi',
  'text-private',
  'text-single',
])

/**
 * Reads the result of a disco#info request. What is no identity, feature or form there is left out, and so are
 * those that lack something; all the rest is built anew, so that nothing else comes along.
 *
 * @param answer - an IQ result
 * @param node - that was asked for
 * @returns what is announced, or a sentence that says why nothing is taken
 */
export function readAnswer(answer: Stanza, node: string): Announced | string {
  const { length } = answer.inner
  if (length > LARGEST_ANSWER) return `it has ${length} characters, of which ${LARGEST_ANSWER} are allowed`
  if (answer.childCount !== 1) return `it has ${answer.childCount} children instead of one`
  const query = answer.payload!
  if (!isNamed(query, 'query', NS_DISCO_INFO)) return `it has a <${query.getName()}/> instead of a <query/>`
  // XEP-0030 §3.2. Who answers for any node as for none would else announce everything that it is.
  if (query.attrs.node !== node) return 'it is about another node'
  const elements = query.getChildElements()
  if (elements.length > MOST_ELEMENTS) {
    return `it has ${elements.length} elements, of which ${MOST_ELEMENTS} are allowed`
  }
  const identities: AnnouncedIdentity[] = []
  const features: string[] = []
  const forms: Element[] = []
  let written = 0
  for (const element of elements) {
    if (isNamed(element, 'identity', NS_DISCO_INFO)) {
      const identity = readIdentity(element)
      if (identity === undefined) continue
      identities.push(identity)
      written += writeElement('identity', { ...identity }, '').length
    } else if (isNamed(element, 'feature', NS_DISCO_INFO)) {
      const name = attribute(element, 'var')
      if (name === undefined) continue
      features.push(name)
      written += writeElement('feature', { var: name }, '').length
    } else if (isNamed(element, 'x', NS_DATA)) {
      const form = readForm(element)
      if (form === undefined) continue
      forms.push(form)
      written += serialize(form).length
    }
  }
  if (written > LARGEST_ANSWER)
    return `it would be ${written} characters, of which ${LARGEST_ANSWER} are allowed`
  return { identities, features, forms }
}

/** The FORM_TYPE of a form (XEP-0068); undefined if it has none. */
export function formTypeOf(form: Element): string | undefined {
  const field = form.getChildren('field').find(({ attrs }) => attrs.var === 'FORM_TYPE')
  return field?.getChildText('value') ?? undefined
}

function readIdentity(element: Element): AnnouncedIdentity | undefined {
  const category = attribute(element, 'category')
  const type = attribute(element, 'type')
  if (category === undefined || type === undefined) return undefined
  const name = attribute(element, 'name')
  const lang = attribute(element, 'xml:lang')
  return { category, type, ...(name !== undefined && { name }), ...(lang !== undefined && { lang }) }
}

/** XEP-0128, and XEP-0115 §3.6 for what counts: a FORM_TYPE that is hidden, once. */
function readForm(x: Element): Element | undefined {
  if (x.attrs.type !== 'result') return undefined
  const form = xml('x', { xmlns: NS_DATA, type: 'result' })
  const names = new Set<string>()
  for (const field of x.getChildElements()) {
    const name = attribute(field, 'var')
    if (name === undefined || names.has(name) || !isNamed(field, 'field', NS_DATA)) continue
    names.add(name)
    const values = field
      .getChildElements()
      .filter((child) => isNamed(child, 'value', NS_DATA))
      .map((value) => xml('value', {}, detached(value.getText())))
    const type = FIELD_TYPES.has(field.attrs.type) ? (field.attrs.type as string) : undefined
    if (name === 'FORM_TYPE' && (type !== 'hidden' || values.length !== 1 || values[0]!.getText() === '')) {
      return undefined
    }
    const label = attribute(field, 'label')
    form.append(
      xml(
        'field',
        { var: name, ...(type !== undefined && { type }), ...(label !== undefined && { label }) },
        ...values,
      ),
    )
  }
  return names.has('FORM_TYPE') ? form : undefined
}

function isNamed(element: Element, name: string, xmlns: string): boolean {
  return element.getName() === name && element.getNS() === xmlns
}

/** An attribute that is kept long; undefined if it is empty or not there. */
function attribute(element: Element, name: string): string | undefined {
  const value = (element.attrs as Record<string, string | undefined>)[name]
  return value === undefined || value === '' ? undefined : detached(value)
}
