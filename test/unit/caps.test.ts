/** The verification string (XEP-0115 §5), and what tells that it must be made anew. */

import { createHash } from 'node:crypto'
import type { Element } from '@xmpp/xml'
import { describe, expect, it } from 'vitest'
import { accountParts, type Part } from '../../plugins/disco/info.ts'
import { verificationString } from '../../plugins/disco/verification.ts'
import { ItemList } from '../../server/items.ts'
import { Stanza } from '../../server/stanza/stanza.ts'

/** The parts of a disco#info with this content. */
function partsOf(content: string): Part[] {
  const query: Element = Stanza.fromInner(
    'query',
    { xmlns: 'http://jabber.org/protocol/disco#info' },
    content,
  )
  return accountParts(query, new Map())
}

const sha1 = (text: string) => createHash('sha1').update(text).digest('base64')
const feature = (name: string) => `<feature var='${name}'/>`
const ofData = (name: string, content = '') =>
  `<x xmlns='jabber:x:data' type='result'><field var='FORM_TYPE' type='hidden'><value>${name}</value></field>${content}</x>`

const CLIENT = ['caps', 'disco#info', 'disco#items', 'muc'].map((name) =>
  feature(`http://jabber.org/protocol/${name}`),
)
const SOFTWARE = [
  `<field var='ip_version' type='text-multi'><value>ipv4</value><value>ipv6</value></field>`,
  `<field var='os'><value>Mac</value></field>`,
  `<field var='os_version'><value>10.5.1</value></field>`,
  `<field var='software'><value>Psi</value></field>`,
  `<field var='software_version'><value>0.11</value></field>`,
]
const PSI = [
  `<identity xml:lang='en' category='client' name='Psi 0.11' type='pc'/>`,
  `<identity xml:lang='el' category='client' name='Ψ 0.11' type='pc'/>`,
  ...CLIENT,
]

describe('XEP-0115 §5: the verification string', () => {
  it('§5.2: the simple example', () => {
    const parts = [`<identity category='client' name='Exodus 0.9.1' type='pc'/>`, ...CLIENT]
    for (const content of [parts, parts.toReversed()]) {
      expect(verificationString(partsOf(content.join('')))).toBe('QgayPKawpkPSDYmwT/WM94uAlu0=')
    }
  })

  it('§5.3: the complex example, in any order', () => {
    const form = ofData('urn:xmpp:dataforms:softwareinfo', SOFTWARE.join(''))
    const turned = ofData('urn:xmpp:dataforms:softwareinfo', SOFTWARE.toReversed().join(''))
    for (const content of [
      [...PSI, form],
      [turned, ...PSI.toReversed()],
    ]) {
      expect(verificationString(partsOf(content.join('')))).toBe('q07IKJEyjvHSyhy//CH0CxmKi8w=')
    }
  })

  it('§5.1: octets give the order, not UTF-16', () => {
    // U+FF5E is before U+1F600 in UTF-8, and after its surrogates.
    const parts = partsOf(feature('\u{1F600}') + feature('\uFF5E') + feature('a') + feature('Z'))
    expect(verificationString(parts)).toBe(sha1('Z<a<\uFF5E<\u{1F600}<'))
  })

  it('§5.1: identities by category, then type, then language', () => {
    const parts = partsOf(
      `<identity category='a-b' type='c'/><identity category='a' type='z' name='N'/>` +
        `<identity category='a' type='c' xml:lang='en'/><identity category='a' type='c'/>`,
    )
    expect(verificationString(parts)).toBe(sha1('a/c//<a/c/en/<a/z//N<a-b/c//<'))
  })

  it('§5.1: several forms by their types, fields without values, values in order', () => {
    const parts = partsOf(
      ofData('urn:b', `<field var='b'><value>2</value><value>1</value></field><field var='a'/>`) +
        ofData('urn:a'),
    )
    expect(verificationString(parts)).toBe(sha1('urn:a<urn:b<a<b<1<2<'))
  })

  it('§5.4: a form without a FORM_TYPE that is hidden does not count', () => {
    const without = `<x xmlns='jabber:x:data' type='result'><field var='a'><value>1</value></field></x>`
    const open = ofData('urn:a').replace(` type='hidden'`, '')
    expect(verificationString(partsOf(feature('f') + without + open))).toBe(sha1('f<'))
  })

  it('§5.4: what ends a part inside of one gives no string; what only looks like it does', () => {
    const bad = [
      feature('a&lt;b'),
      `<identity category='a' type='b' name='&lt;'/>`,
      ofData('a&lt;'),
      ofData('a', `<field var='b'><value>1&lt;2</value></field>`),
      ofData('a', `<field var='b&lt;'/>`),
    ]
    for (const content of bad) expect(verificationString(partsOf(content)), content).toBeUndefined()
    expect(verificationString(partsOf(feature('a&amp;lt;b')))).toBe(sha1('a&lt;b<'))
  })
})

describe('ItemList.revision', () => {
  it('is another after each change, and the same without one', () => {
    const items = new ItemList()
    const seen = [items.revision]
    const first = items.add('feature', 'urn:a', 'test')
    seen.push(items.revision)
    items.add('disco-filter', () => false, 'test')
    seen.push(items.revision)
    first()
    seen.push(items.revision)
    expect(new Set(seen).size).toBe(4)
    first()
    items.get('feature')
    items.entries('identity')
    expect(items.revision).toBe(seen.at(-1))
  })
})
