/** Data forms (XEP-0004): written from a description, and read back against it. */

import xml, { type Element } from '@xmpp/xml'
import { prepareJid } from '../jid.ts'
import { NS_DATA } from './namespaces.ts'

export type FormFieldType =
  | 'boolean'
  | 'fixed'
  | 'hidden'
  | 'jid-multi'
  | 'jid-single'
  | 'list-multi'
  | 'list-single'
  | 'text-multi'
  | 'text-private'
  | 'text-single'

export interface FormOption {
  readonly value: string
  readonly label?: string
}

/** A field (XEP-0004 §3.2). */
export interface FormField {
  /** Its name; only a `fixed` field may do without. */
  readonly var?: string
  readonly type: FormFieldType
  readonly label?: string
  /** A longer explanation. */
  readonly desc?: string
  readonly required?: boolean
  /** What stands there to begin with; a boolean is written as `1` or `0`. */
  readonly value?: string | boolean | readonly string[]
  /** Of a list: what may be chosen. */
  readonly options?: readonly FormOption[]
}

/** What a form looks like. */
export interface FormLayout {
  readonly title?: string
  readonly instructions?: string
  /** The hidden `FORM_TYPE` (XEP-0068); a submission that names another one is refused. */
  readonly formType?: string
  readonly fields: readonly FormField[]
}

const FORM_TYPE = 'FORM_TYPE'
/** Fields of which a submission may have several values. */
const MULTI = new Set<FormFieldType>(['jid-multi', 'list-multi', 'text-multi'])

/**
 * The `<x/>` of a form.
 *
 * @param layout - what it looks like
 * @param type - `form` to be filled in, or `result` to be read: this one has no options and nothing required
 */
export function formElement(layout: FormLayout, type: 'form' | 'result' = 'form'): Element {
  const form = xml('x', { xmlns: NS_DATA, type })
  if (layout.title !== undefined) form.append(xml('title', {}, layout.title))
  if (layout.instructions !== undefined) form.append(xml('instructions', {}, layout.instructions))
  if (layout.formType !== undefined) {
    form.append(fieldElement({ var: FORM_TYPE, type: 'hidden', value: layout.formType }, type))
  }
  for (const field of layout.fields) form.append(fieldElement(field, type))
  return form
}

function fieldElement(field: FormField, type: 'form' | 'result'): Element {
  const attrs: Record<string, string> = { type: field.type }
  if (field.var !== undefined) attrs['var'] = field.var
  if (field.label !== undefined) attrs['label'] = field.label
  const element = xml('field', attrs)
  if (field.desc !== undefined) element.append(xml('desc', {}, field.desc))
  if (field.required === true && type === 'form') element.append(xml('required'))
  for (const value of valuesOf(field)) element.append(xml('value', {}, value))
  if (type === 'form') {
    for (const { label, value } of field.options ?? []) {
      element.append(xml('option', label === undefined ? {} : { label }, xml('value', {}, value)))
    }
  }
  return element
}

function valuesOf({ value }: FormField): readonly string[] {
  if (value === undefined) return []
  if (typeof value === 'boolean') return [value ? '1' : '0']
  return typeof value === 'string' ? [value] : value
}

/** What somebody has filled in, by field. Names are theirs to choose, so every string is a name like another here. */
export class FormValues {
  private readonly values: ReadonlyMap<string, readonly string[]>

  constructor(values: ReadonlyMap<string, readonly string[]>) {
    this.values = values
  }

  /** Whether the field is there, with or without a value. */
  has(name: string): boolean {
    return this.values.has(name)
  }

  /** The first value; undefined if there is none. */
  text(name: string): string | undefined {
    return this.values.get(name)?.[0]
  }

  /** Every value. */
  list(name: string): readonly string[] {
    return this.values.get(name) ?? []
  }

  /** Whether a boolean field is set; one that is absent is not. */
  flag(name: string): boolean {
    const value = this.text(name)
    return value === '1' || value === 'true'
  }
}

/** A form that was read: what it says, and sentences about what is wrong with it. */
export interface FormReading {
  readonly values: FormValues
  readonly problems: readonly string[]
}

/**
 * The values of a form as they stand there, whatever they are.
 *
 * @returns undefined if a field occurs twice: which one counts would be a matter of taste
 */
export function rawFormValues(form: Element): FormValues | undefined {
  const values = new Map<string, readonly string[]>()
  for (const field of form.getChildren('field', NS_DATA)) {
    const name = field.attrs['var'] as string | undefined
    if (name === undefined) continue
    if (values.has(name)) return undefined
    values.set(
      name,
      field.getChildren('value', NS_DATA).map((value) => value.text()),
    )
  }
  return new FormValues(values)
}

/**
 * Reads a submitted form against the layout that it was made from. Fields that the layout does not have are left
 * out, and a value that is wrong is, too; each mistake gives a sentence for whoever has submitted it.
 *
 * @param layout - of the form
 * @param form - the `<x type='submit'/>`
 */
export function readForm(layout: FormLayout, form: Element): FormReading {
  const read = new Map<string, readonly string[]>()
  const result = (problems: string[]): FormReading => ({ values: new FormValues(read), problems })
  if (form.attrs['type'] !== 'submit') return result(['The form must be of the type "submit"'])
  const raw = rawFormValues(form)
  if (raw === undefined) return result(['A field stands there twice'])
  if (layout.formType !== undefined && raw.has(FORM_TYPE) && raw.text(FORM_TYPE) !== layout.formType) {
    return result(['The form is another one than was asked for'])
  }
  const problems: string[] = []
  for (const field of layout.fields) {
    if (field.var === undefined || field.type === 'fixed') continue
    const name = field.label ?? field.var
    const given = raw.list(field.var)
    const fault = faultOf(field, given)
    if (fault !== undefined) problems.push(`${name}: ${fault}`)
    else if (raw.has(field.var))
      read.set(
        field.var,
        given.map((value) => normalised(field, value)),
      )
  }
  return result(problems)
}

/** What is wrong with a field's values (XEP-0004 §3.3), or undefined. */
function faultOf(field: FormField, given: readonly string[]): string | undefined {
  if (given.length === 0 || given.every((value) => value === '')) {
    return field.required === true ? 'a value is required' : undefined
  }
  if (given.length > 1 && !MULTI.has(field.type)) return 'only one value is possible'
  switch (field.type) {
    case 'boolean':
      return /^(?:0|1|true|false)$/.test(given[0]!) ? undefined : 'must be 1 or 0'
    case 'jid-single':
    case 'jid-multi':
      return given.every((value) => prepareJid(value) !== undefined) ? undefined : 'must be an address'
    case 'list-single':
    case 'list-multi': {
      const known = new Set((field.options ?? []).map(({ value }) => value))
      return given.every((value) => known.has(value)) ? undefined : 'must be chosen from the list'
    }
    default:
      return undefined
  }
}

function normalised({ type }: FormField, value: string): string {
  return type === 'jid-single' || type === 'jid-multi' ? (prepareJid(value)?.full ?? value) : value
}
