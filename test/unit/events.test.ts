/** Events: priorities, ends, failures, and names that are looked up by their parts. */

import { describe, expect, it } from 'vitest'
import { Events } from '../../server/events.ts'

function make() {
  const failures: { error: unknown; name: string; owner: string }[] = []
  const events = new Events((error, name, owner) => {
    failures.push({ error, name, owner })
    return 'failed'
  })
  return { events, failures }
}

describe('the order of handlers', () => {
  it('is by priority, and by time where that is equal', () => {
    const { events } = make()
    const seen: string[] = []
    for (const [word, priority] of [
      ['c', 0],
      ['a', 10],
      ['d', 0],
      ['e', -1],
      ['b', 10],
    ] as const) {
      events.add('x', () => void seen.push(word), priority)
    }
    events.fire('x', {})
    expect(seen.join('')).toBe('abcde')
  })

  it('ends with the first that returns something, also false and null', () => {
    for (const answer of [true, false, null, 0, '']) {
      const { events } = make()
      events.add('x', () => answer, 1)
      events.add('x', () => expect.unreachable())
      expect(events.fire('x', {})).toBe(answer)
    }
  })

  it('is that of the beginning, whatever handlers add or take away meanwhile', () => {
    const { events } = make()
    const seen: string[] = []
    const remove = events.add('x', () => void seen.push('second'), 1)
    events.add(
      'x',
      () => {
        seen.push('first')
        remove()
        events.add('x', () => void seen.push('new'), 0)
      },
      2,
    )
    events.fire('x', {})
    events.fire('x', {})
    expect(seen).toEqual(['first', 'second', 'first', 'new'])
  })
})

describe('an event that is observed', () => {
  it('tells after each handler whose it was, and ends as any other', () => {
    const { events, failures } = make()
    const seen: string[] = []
    const add = (owner: string, result?: unknown): void => {
      const handler = (): unknown => {
        seen.push(`${owner} runs`)
        return result
      }
      events.add('x', handler, 0, owner)
    }
    add('first')
    add('second', null)
    add('third')
    expect(events.fireObserved('x', {}, (owner) => seen.push(owner))).toBeNull()
    expect(seen).toEqual(['first runs', 'first', 'second runs', 'second'])
    expect(events.fireObserved('y', {}, () => seen.push('y'))).toBeUndefined()
    events.add(
      'z',
      () => {
        throw new Error('of z')
      },
      0,
      'z',
    )
    expect(events.fireObserved('z', {}, () => {})).toBe('failed')
    expect(failures.map(({ name, owner }) => [name, owner])).toEqual([['z', 'z']])
  })
})

describe('taking handlers away', () => {
  it('leaves nothing, and may be done twice', () => {
    const { events } = make()
    const other = events.add('iq-get/host/urn:x:y', () => undefined)
    const remove = events.add('iq-get/host/urn:x:y', () => true)
    remove()
    remove()
    expect(events.fireScoped('iq-get/host', 'urn:x', 'y', {})).toBeUndefined()
    other()
    expect([events.names(), events.has('iq-get/host/urn:x:y')]).toEqual([[], false])
  })
})

describe('scoped names', () => {
  it.each([
    ['iq-get/bare', 'urn:x', 'y', 'iq-get/bare/urn:x:y'],
    ['iq-set/full', 'http://a/b#c', 'query', 'iq-set/full/http://a/b#c:query'],
    ['iq/self', '', 'y', 'iq/self/:y'],
    ['stanza', 'iq/urn:x', 'y', 'stanza/iq/urn:x:y'],
  ])('%s %s %s', (scope, xmlns, name, event) => {
    const { events } = make()
    events.add(event, () => 'here')
    expect(events.fireScoped(scope, xmlns, name, {})).toBe('here')
    expect(events.fire(event, {})).toBe('here')
    expect(events.fireScoped(scope, xmlns, `${name}2`, {})).toBeUndefined()
  })

  it('are not those of objects', () => {
    const { events } = make()
    for (const name of ['__proto__', 'constructor', 'toString']) {
      expect(events.fireScoped(name, name, name, {})).toBeUndefined()
      expect(events.fire(name, {})).toBeUndefined()
    }
  })
})

describe('failures', () => {
  it('of a handler are its answer, and are told with the name of the event and of its owner', () => {
    const { events, failures } = make()
    events.add(
      'x',
      () => {
        throw new Error('no')
      },
      0,
      'plugin',
    )
    expect(events.fire('x', {})).toBe('failed')
    expect(failures).toMatchObject([{ name: 'x', owner: 'plugin' }])
  })

  it('of a promise are told once, also if one event gives the promise of another back', async () => {
    const { events, failures } = make()
    events.add('inner', () => Promise.reject(new Error('no')), 0, 'plugin')
    events.add('outer', (event) => events.fire('inner', event), 0, 'iq')
    await expect(events.fire('outer', {})).resolves.toBe('failed')
    expect(failures).toMatchObject([{ name: 'inner', owner: 'plugin' }])
  })

  it('of registering are told at once', () => {
    const { events } = make()
    expect(() => events.add('x', undefined as never, 0, 'plugin')).toThrow('plugin: the handler of x')
    expect(() => events.add('x', () => {}, Number.NaN)).toThrow('the priority of x')
  })
})
