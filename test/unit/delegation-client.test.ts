/** The parts of client mode (XEP-0355 §5): what may be granted, how often one may ask, what is kept. */

import { afterEach, describe, expect, it, vi } from 'vitest'
import { shownEntity } from '../../plugins/delegation/client-consent.ts'
import { Grants, type StoredGrants } from '../../plugins/delegation/client-grants.ts'
import { RateLimit } from '../../plugins/delegation/client-limits.ts'
import { isShowable, mayBeGranted, namespaceLabel } from '../../plugins/delegation/client-namespaces.ts'
import { clientOptions } from '../../plugins/delegation/client-options.ts'
import { ConfigError, configFromObject, readOption } from '../../server/config/index.ts'
import { createLogger } from '../../server/log.ts'
import { openMemoryStorage } from '../../server/storage/memory.ts'

const HOST = 'capulet.lit'
const NS = 'urn:example:thing'
const { logger } = createLogger([], { directory: '/' })

describe('U4: delegation_client_namespaces', () => {
  const read = (value: unknown) =>
    readOption(
      configFromObject({ virtualHosts: { [HOST]: { delegation_client_namespaces: value } } }),
      HOST,
      'delegation_client_namespaces',
      clientOptions.delegation_client_namespaces,
    )

  it('U4: nothing, allow, deny; one name is a list of one', () => {
    expect(read(undefined)).toEqual({})
    expect(read({ allow: [NS] })).toEqual({ allow: [NS] })
    expect(read({ deny: NS })).toEqual({ deny: [NS] })
    expect(read({ allow: [] })).toEqual({ allow: [] })
    expect(read([])).toEqual({})
  })

  it.each([
    ['both', { allow: [NS], deny: [NS] }],
    ['another key', { permit: [NS] }],
    ['a list', [NS]],
    ['a number', { allow: [5] }],
  ])('U4: %s is an error that names the option', (_what, value) => {
    expect(() => read(value)).toThrow(ConfigError)
    expect(() => read(value)).toThrow(/delegation_client_namespaces/)
  })

  it('U4: an empty allow list allows nothing; without lists everything but what is vital', () => {
    expect(mayBeGranted(NS, { allow: [] })).toBe(false)
    expect(mayBeGranted(NS, { allow: [NS] })).toBe(true)
    expect(mayBeGranted(NS, { deny: [NS] })).toBe(false)
    expect(mayBeGranted(NS, {})).toBe(true)
    expect(mayBeGranted('http://jabber.org/protocol/pubsub', {})).toBe(true)
    expect(mayBeGranted('jabber:iq:register', {})).toBe(false)
    expect(mayBeGranted('jabber:iq:register', { allow: ['jabber:iq:register'] })).toBe(false)
    expect(mayBeGranted('urn:xmpp:delegation:7', {})).toBe(false)
  })
})

describe('U4: legate check', () => {
  it('U4: says that a vital namespace is allowed in vain', () => {
    const advice = clientOptions.delegation_client_namespaces.advice!
    expect(advice({ allow: [NS, 'jabber:iq:register'] })).toMatch(/allows jabber:iq:register,/)
    expect(advice({ allow: [NS] })).toBeUndefined()
    expect(advice({ deny: ['jabber:iq:register'] })).toBeUndefined()
  })
})

describe('U1: what people are shown', () => {
  it('a namespace is printable ASCII', () => {
    expect(isShowable('http://jabber.org/protocol/pubsub#owner')).toBe(true)
    for (const text of ['', 'a b', 'a\nb', 'ä', '\u202e', 'x'.repeat(257)])
      expect(isShowable(text)).toBe(false)
  })

  it('no namespace is taken for a property of the table of names', () => {
    expect(namespaceLabel('constructor')).toBe('constructor')
    expect(namespaceLabel('__proto__')).toBe('__proto__')
  })

  it('of a long address the end is shown, where the domain is', () => {
    expect(shownEntity('nurse@capulet.lit/any words')).toBe('"nurse@capulet.lit"')
    const long = shownEntity(`${'x'.repeat(1000)}@evil.example`)
    expect(long).toMatch(/^"…x+@evil\.example"$/)
    expect(long.length).toBeLessThan(210)
  })
})

describe('U4: RateLimit', () => {
  afterEach(() => {
    vi.useRealTimers()
  })

  it('lets so many through in a window, by key', () => {
    vi.useFakeTimers({ toFake: ['Date'], now: 0 })
    const limit = new RateLimit(2, 60)
    expect([limit.take('a'), limit.take('a'), limit.take('a'), limit.take('b')]).toEqual([
      true,
      true,
      false,
      true,
    ])
    vi.setSystemTime(59_999)
    expect(limit.take('a')).toBe(false)
    vi.setSystemTime(60_000)
    expect(limit.take('a')).toBe(true)
  })

  it('lets go of keys whose window is over', () => {
    vi.useFakeTimers({ toFake: ['Date'], now: 0 })
    const limit = new RateLimit(1, 1)
    for (let i = 0; i < 1000; i++) limit.take(`old${i}`)
    vi.setSystemTime(2000)
    limit.take('new')
    expect(limit.size).toBe(1)
  })
})

describe('U5: Grants', () => {
  const make = () => new Grants(logger, () => 30)

  it('finds by account and by manager; another manager takes the place of the first', () => {
    const grants = make()
    grants.put('juliet', NS, 'pubsub.capulet.lit', 1)
    grants.put('juliet', 'urn:x', 'pubsub.capulet.lit', 1)
    grants.put('nurse', NS, 'pubsub.capulet.lit', 1)
    expect(grants.grantedTo('pubsub.capulet.lit')).toEqual(['juliet', 'nurse'])
    grants.put('juliet', NS, 'rival.capulet.lit', 2)
    expect(grants.find('juliet', NS)?.delegation).toMatchObject({ jid: 'rival.capulet.lit', timeout: 30 })
    expect(grants.grantedTo('pubsub.capulet.lit')).toEqual(['juliet', 'nurse'])
    grants.remove('juliet', 'urn:x')
    expect(grants.grantedTo('pubsub.capulet.lit')).toEqual(['nurse'])
    grants.remove('nurse', NS)
    expect(grants.managers()).toEqual(['rival.capulet.lit'])
    expect(grants.accounts()).toEqual(['juliet'])
  })

  it('keeps what is granted, and names like __proto__ are names', async () => {
    const store = openMemoryStorage().openKeyval<StoredGrants>(HOST, 'delegation_grants')
    const grants = make()
    grants.put('juliet', NS, 'pubsub.capulet.lit', 1)
    await grants.keepIn(store)
    grants.put('__proto__', '__proto__', 'nurse@capulet.lit/bot', 2)
    await grants.save('__proto__')
    const again = make()
    await again.keepIn(store)
    expect(again.find('juliet', NS)?.since).toBe(1)
    expect(again.find('__proto__', '__proto__')?.delegation.jid).toBe('nurse@capulet.lit/bot')
    expect(again.find('nobody', '__proto__')).toBeUndefined()
    again.remove('juliet', NS)
    await again.save('juliet')
    expect(await store.get('juliet')).toBeUndefined()
    await again.forgetIn(store)
    expect(await store.get('__proto__')).toBeUndefined()
    expect(again.kept).toBe(false)
  })
})
