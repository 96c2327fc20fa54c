/** Data forms (XEP-0004): written, and read back against their layout. */

import xml, { type Element } from '@xmpp/xml'
import { describe, expect, it } from 'vitest'
import { type FormLayout, formElement, rawFormValues, readForm } from '../../server/index.ts'

const NS = 'jabber:x:data'

const LAYOUT: FormLayout = {
  title: 'Bot',
  instructions: 'Fill it in <now>',
  formType: 'urn:example:bot',
  fields: [
    { var: 'challenge', type: 'hidden', value: 'c1' },
    { type: 'fixed', value: 'Section' },
    { var: 'name', type: 'text-single', label: 'Name', required: true },
    { var: 'public', type: 'boolean', value: true },
    {
      var: 'level',
      type: 'list-single',
      value: '0',
      options: [
        { value: '0', label: 'No' },
        { value: '1', label: 'Yes' },
      ],
    },
    { var: 'features', type: 'list-multi', options: [{ value: 'news' }, { value: 'search' }] },
    { var: 'owner', type: 'jid-single', desc: 'Who runs it' },
    { var: 'friends', type: 'jid-multi', value: ['a@b.example'] },
    { var: 'text', type: 'text-multi' },
  ],
}

function submitted(fields: Record<string, readonly string[]>, type = 'submit'): Element {
  const elements = Object.entries(fields).map(([name, values]) =>
    xml('field', { var: name }, ...values.map((value) => xml('value', {}, value))),
  )
  return xml('x', { xmlns: NS, type }, ...elements)
}

const problemsOf = (fields: Record<string, readonly string[]>) =>
  readForm(LAYOUT, submitted({ name: ['x'], ...fields })).problems

describe('XEP-0004: writing a form', () => {
  const form = formElement(LAYOUT)
  const field = (name: string) => form.getChildren('field').find((child) => child.attrs['var'] === name)!

  it('XEP-0068: has a hidden FORM_TYPE before the other fields', () => {
    const first = form.getChildren('field')[0]!
    expect(first.attrs).toMatchObject({ var: 'FORM_TYPE', type: 'hidden' })
    expect(first.getChildText('value')).toBe('urn:example:bot')
  })

  it('§3: has type, title, instructions and fields with their types, labels, values and options', () => {
    expect(form.attrs).toMatchObject({ xmlns: NS, type: 'form' })
    expect(form.getChildText('title')).toBe('Bot')
    expect(form.toString()).toContain('Fill it in &lt;now&gt;')
    expect(field('name').attrs).toMatchObject({ type: 'text-single', label: 'Name' })
    expect(field('name').getChild('required')).toBeDefined()
    expect(field('public').getChildText('value')).toBe('1')
    expect(
      field('level')
        .getChildren('option')
        .map((option) => option.getChildText('value')),
    ).toEqual(['0', '1'])
    expect(field('owner').getChildText('desc')).toBe('Who runs it')
    expect(field('challenge').attrs['type']).toBe('hidden')
  })

  it('§3.1: a result has neither options nor required fields', () => {
    const result = formElement(LAYOUT, 'result')
    expect(result.attrs['type']).toBe('result')
    expect(result.toString()).not.toMatch(/<option|<required/)
  })
})

describe('XEP-0004: reading a submission', () => {
  it('gives the values by field', () => {
    const { values, problems } = readForm(
      LAYOUT,
      submitted({
        FORM_TYPE: ['urn:example:bot'],
        name: ['Robin'],
        public: ['true'],
        level: ['1'],
        features: ['news', 'search'],
        owner: ['Juliet@Capulet.lit'],
        text: ['one', 'two'],
      }),
    )
    expect(problems).toEqual([])
    expect(values.text('name')).toBe('Robin')
    expect(values.flag('public')).toBe(true)
    expect(values.text('level')).toBe('1')
    expect(values.list('features')).toEqual(['news', 'search'])
    expect(values.text('owner')).toBe('juliet@capulet.lit')
    expect(values.list('text')).toEqual(['one', 'two'])
    expect(values.has('friends')).toBe(false)
    expect(values.flag('friends')).toBe(false)
  })

  it('§3.2: a required field must have a value', () => {
    expect(readForm(LAYOUT, submitted({})).problems).toEqual(['Name: a value is required'])
    expect(readForm(LAYOUT, submitted({ name: [''] })).problems).toEqual(['Name: a value is required'])
  })

  it.each([
    ['§3.3: a boolean', { public: ['yes'] }, 'public: must be 1 or 0'],
    ['§3.3: an address', { owner: ['a@@b'] }, 'owner: must be an address'],
    ['§3.3: every address', { friends: ['a@b.example', '@'] }, 'friends: must be an address'],
    ['§3.3: a choice', { level: ['2'] }, 'level: must be chosen from the list'],
    ['§3.3: every choice', { features: ['news', 'root'] }, 'features: must be chosen from the list'],
    ['§3.2: one value', { level: ['0', '1'] }, 'level: only one value is possible'],
  ])('%s is checked, and a wrong one is left out', (_rule, fields, problem) => {
    expect(problemsOf(fields as unknown as Record<string, string[]>)).toEqual([problem])
    const [name] = Object.keys(fields)
    const reading = readForm(LAYOUT, submitted({ name: ['x'], ...fields } as never))
    expect(reading.values.has(name!)).toBe(false)
    expect(reading.values.text('name')).toBe('x')
  })

  it('leaves out what the form did not have, whatever its name', () => {
    const { values, problems } = readForm(
      LAYOUT,
      submitted({ name: ['x'], ['__proto__']: ['y'], extra: ['z'] }),
    )
    expect(problems).toEqual([])
    expect(values.has('extra')).toBe(false)
    expect(values.text('__proto__')).toBeUndefined()
    expect(values.text('constructor')).toBeUndefined()
  })

  it('refuses another type, another FORM_TYPE, and a field that is there twice', () => {
    expect(readForm(LAYOUT, submitted({ name: ['x'] }, 'form')).problems).toHaveLength(1)
    expect(problemsOf({ FORM_TYPE: ['urn:example:other'] })).toHaveLength(1)
    const twice = submitted({ name: ['x'] })
    twice.append(xml('field', { var: 'level' }, xml('value', {}, '0')))
    twice.append(xml('field', { var: 'level' }, xml('value', {}, '1')))
    const { values, problems } = readForm(LAYOUT, twice)
    expect(problems).toHaveLength(1)
    expect(values.has('level')).toBe(false)
    expect(rawFormValues(twice)).toBeUndefined()
  })

  it('does not take fields and values of other namespaces', () => {
    const form = submitted({})
    form.append(xml('field', { xmlns: 'urn:other', var: 'name' }, xml('value', {}, 'x')))
    form.append(xml('field', { var: 'level' }, xml('value', { xmlns: 'urn:other' }, '1')))
    const raw = rawFormValues(form)!
    expect(raw.has('name')).toBe(false)
    expect(raw.list('level')).toEqual([])
  })
})
