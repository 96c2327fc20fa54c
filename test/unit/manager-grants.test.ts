// legate/manager: what a host has granted, waiting for it, and places for requests.

import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { type Grant, Grants, readAdvertisement } from '../../manager/grants.ts'
import { InFlight } from '../../manager/in-flight.ts'
import { parse } from '../shared/parse.ts'

const HOST = 'capulet.lit'

function advertisement(content: string, attrs = '', inner = ''): ReadonlyMap<string, Grant> | undefined {
  const delegation = `<delegation xmlns='urn:xmpp:delegation:2' ${inner}>${content}</delegation>`
  return readAdvertisement(parse(`<message from='${HOST}' ${attrs}>${delegation}</message>`), HOST)
}

function list(...namespaces: string[]): ReadonlyMap<string, Grant> {
  return new Map(namespaces.map((namespace) => [namespace, { host: HOST, namespace, filtering: [] }]))
}

describe('A1: an advertisement', () => {
  it('lists namespaces with their filtering attributes', () => {
    const grants = advertisement(
      `<delegated namespace='urn:a'/><delegated namespace='urn:b'><attribute name='node'/><attribute/></delegated>`,
    )
    expect([...grants!.values()]).toEqual([
      { host: HOST, namespace: 'urn:a', filtering: [] },
      { host: HOST, namespace: 'urn:b', filtering: ['node'] },
    ])
  })

  it('may be empty, and what is malformed in it is left out', () => {
    expect(advertisement('')?.size).toBe(0)
    expect(
      advertisement(`<delegated/><delegated namespace=''/><delegated xmlns='urn:x' namespace='urn:a'/>`)
        ?.size,
    ).toBe(0)
    expect([...advertisement(`<delegated namespace='__proto__'/>`)!.keys()]).toEqual(['__proto__'])
  })

  it('is none if it is an error, if it tells of one account, or is something else', () => {
    expect(advertisement(`<delegated namespace='urn:a'/>`, `type='error'`)).toBeUndefined()
    expect(advertisement(`<delegated namespace='urn:a'/>`, '', `to='juliet@${HOST}'`)).toBeUndefined()
    expect(readAdvertisement(parse(`<message><body>hello</body></message>`), HOST)).toBeUndefined()
    expect(
      readAdvertisement(parse(`<presence><delegation xmlns='urn:xmpp:delegation:2'/></presence>`), HOST),
    ).toBeUndefined()
  })
})

describe('waiting for grants', () => {
  it('ends when all are there, from any host or the one that is named', async () => {
    const grants = new Grants()
    const order: string[] = []
    const both = grants.wait(['urn:a', 'urn:b'], undefined, undefined).then(() => order.push('both'))
    const here = grants.wait(['urn:a'], HOST, undefined).then(() => order.push('here'))
    grants.set('montague.lit', list('urn:a'))
    await Promise.resolve()
    expect(order).toEqual([])
    grants.set(HOST, list('urn:a'))
    await here
    grants.set(HOST, list('urn:b'))
    await both
    expect(order).toEqual(['here', 'both'])
    // C6: the newer list has taken the older one's place.
    expect([...grants.of(HOST).keys()]).toEqual(['urn:b'])
  })

  it('can be given up', async () => {
    const grants = new Grants()
    const controller = new AbortController()
    const waiting = grants.wait(['urn:a'], undefined, controller.signal)
    controller.abort(new Error('no time'))
    await expect(waiting).rejects.toThrow('no time')
    await expect(grants.wait(['urn:a'], undefined, controller.signal)).rejects.toThrow('no time')
    grants.set(HOST, list('urn:a'))
  })

  it('A2: begins anew when the connection is gone', () => {
    const grants = new Grants()
    grants.set(HOST, list('urn:a'))
    grants.set('montague.lit', list())
    expect(grants.clear()).toEqual([HOST])
    expect(grants.of(HOST).size).toBe(0)
  })
})

describe('requests under way', () => {
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
  })
  afterEach(() => {
    vi.useRealTimers()
  })

  it('are so many, and so many of one asker', () => {
    const inFlight = new InFlight(3, 2, 1000)
    const first = inFlight.take('juliet')
    inFlight.take('juliet')
    expect(inFlight.take('juliet')).toBeUndefined()
    inFlight.take('romeo')
    expect(inFlight.take('nurse')).toBeUndefined()
    first!.leave()
    expect(inFlight.size).toBe(2)
    expect(inFlight.take('juliet')).toBeDefined()
  })

  it('have so much time', async () => {
    const place = new InFlight(1, 1, 1500).take('juliet')!
    const over = expect(place.over).rejects.toMatchObject({
      condition: 'remote-server-timeout',
      type: 'wait',
    })
    vi.advanceTimersByTime(1499)
    expect(place.timedOut).toBe(false)
    vi.advanceTimersByTime(1)
    await over
    expect(place.timedOut).toBe(true)
    expect(place.signal.aborted).toBe(true)
  })

  it('leave no timer behind', () => {
    const place = new InFlight(1, 1, 1500).take('juliet')!
    expect(vi.getTimerCount()).toBe(1)
    place.leave()
    expect(vi.getTimerCount()).toBe(0)
  })

  it('are told that their connection is gone, and keep their places until they are done', () => {
    const inFlight = new InFlight(1, 1, 1000)
    const place = inFlight.take('juliet')!
    expect(place.connected).toBe(true)
    inFlight.abandon()
    expect(place.connected).toBe(false)
    expect(place.signal.aborted).toBe(true)
    expect(inFlight.take('romeo')).toBeUndefined()
    place.leave()
    expect(inFlight.take('romeo')?.connected).toBe(true)
  })
})
