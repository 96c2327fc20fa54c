/** What somebody is asked for who wants an account (XEP-0077 §3.1, §4), and what is read of the answer. */

import {
  type Element,
  type FormField,
  type FormLayout,
  formElement,
  NS_DATA,
  NS_REGISTER,
  readForm,
  StanzaError,
  xml,
} from '../../server/index.ts'

/** The fields of the schema (XEP-0077 §14.1) that may be asked for, and what people call them. */
const LABELS: ReadonlyMap<string, string> = new Map([
  ['nick', 'Nickname'],
  ['name', 'Full name'],
  ['first', 'First name'],
  ['last', 'Last name'],
  ['email', 'Email address'],
  ['address', 'Street'],
  ['city', 'City'],
  ['state', 'State'],
  ['zip', 'Postal code'],
  ['phone', 'Telephone number'],
  ['url', 'Web page'],
  ['date', 'Date of birth'],
])

/** Names that the option `additional_registration_fields` takes. */
export const FIELD_NAMES: readonly string[] = [...LABELS.keys()]

/** Characters of a user name or another field; a password is looked at when it is set. */
const LONGEST_VALUE = 1023

/** What a registration says. */
export interface Registration {
  /** As it was written. */
  readonly username: string
  readonly password: string
  /** The other fields that were filled in. */
  readonly additional: Readonly<Record<string, string>>
}

/** What to ask for. */
export interface Wanted {
  readonly title: string
  readonly instructions: string
  /** Names of fields; one that ends in `+` has to be filled in. */
  readonly additional: readonly string[]
}

/** The form, with the same fields as the query without one. */
export function layoutOf({ title, instructions, additional }: Wanted): FormLayout {
  const fields: FormField[] = [
    { var: 'username', type: 'text-single', label: 'User name', required: true },
    { var: 'password', type: 'text-private', label: 'Password', required: true },
  ]
  for (const written of additional) {
    const required = written.endsWith('+')
    const name = required ? written.slice(0, -1) : written
    const label = LABELS.get(name)
    if (label === undefined || fields.some((field) => field.var === name)) continue
    fields.push({ var: name, type: 'text-single', label, required })
  }
  return { title, instructions, formType: NS_REGISTER, fields }
}

/** The query that asks: elements for clients that know no forms, and the form for those that do (§6). */
export function questionOf(layout: FormLayout): Element {
  const names = layout.fields.map((field) => field.var!)
  return xml(
    'query',
    { xmlns: NS_REGISTER },
    xml('instructions', {}, layout.instructions ?? ''),
    ...names.map((name) => xml(name)),
    formElement(layout),
  )
}

/**
 * Reads what was filled in, the form where there is one (§4).
 *
 * @throws StanzaError `not-acceptable` if something is missing (§3.1)
 */
export function readRegistration(layout: FormLayout, query: Element): Registration {
  const values = new Map<string, string>()
  const form = query.getChild('x', NS_DATA)
  if (form === undefined) {
    for (const { var: name, label, required } of layout.fields) {
      const text = query.getChildText(name!) ?? ''
      if (text !== '') values.set(name!, text)
      else if (required === true) refuse(`${label} is missing`)
    }
  } else {
    const read = readForm(layout, form)
    if (read.problems.length > 0) refuse(read.problems.join('; '))
    for (const { var: name } of layout.fields) {
      const text = read.values.text(name!) ?? ''
      if (text !== '') values.set(name!, text)
    }
  }
  const { username = '', password = '', ...additional } = Object.fromEntries(values)
  for (const text of [username, ...Object.values(additional)]) {
    if (text.length > LONGEST_VALUE) refuse(`Nothing may be longer than ${LONGEST_VALUE} characters`)
  }
  return { username, password, additional }
}

function refuse(text: string): never {
  throw new StanzaError('not-acceptable', text)
}
