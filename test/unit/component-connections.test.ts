/** Which connection of a component something goes to. */

import { describe, expect, it } from 'vitest'
import { ComponentConnections } from '../../server/component-connections.ts'
import { Stanza } from '../../server/stanza/stanza.ts'
import type { StreamSession } from '../../server/stream/session.ts'

/** The connections are only told apart here. */
const session = (name: string): StreamSession => ({ name }) as unknown as StreamSession

const KEYS = Array.from({ length: 5000 }, (_, number) => `user${number}@capulet.lit`)

function sharing(count: number) {
  const connections = new ComponentConnections()
  const sessions = Array.from({ length: count }, (_, number) => session(`${number}`))
  for (const one of sessions) connections.add(one, true)
  return { connections, sessions }
}

describe('of', () => {
  it('gives the same connection for a key, and each its share of keys', () => {
    const { connections, sessions } = sharing(3)
    const owners = KEYS.map((key) => connections.of(key))
    expect(KEYS.map((key) => connections.of(key))).toEqual(owners)
    for (const one of sessions) {
      const share = owners.filter((owner) => owner === one).length
      expect(share).toBeGreaterThan(KEYS.length / 3 - 200)
      expect(share).toBeLessThan(KEYS.length / 3 + 200)
    }
  })

  it('a key stays when others come and go; those of one that goes are shared out anew', () => {
    const { connections, sessions } = sharing(3)
    const before = new Map(KEYS.map((key) => [key, connections.of(key)]))
    connections.add(session('new'), true)
    for (const key of KEYS) expect(connections.of(key)).toBe(before.get(key))
    expect(connections.delete(sessions[1]!)).toBe(true)
    expect(connections.delete(sessions[1]!)).toBe(false)
    for (const key of KEYS) {
      const owner = connections.of(key)
      if (before.get(key) === sessions[1]) expect(owner).not.toBe(sessions[1])
      else expect(owner).toBe(before.get(key))
    }
    expect(connections.size).toBe(3)
  })

  it('one that comes takes what nobody has yet', () => {
    const { connections, sessions } = sharing(1)
    for (const key of KEYS.slice(0, 100)) expect(connections.of(key)).toBe(sessions[0])
    const second = session('second')
    connections.add(second, true)
    const owners = KEYS.slice(1000, 1080).map((key) => connections.of(key))
    expect(owners.filter((owner) => owner === second).length).toBeGreaterThan(70)
  })

  it('without any there is none; the last one leaves nothing behind', () => {
    const { connections, sessions } = sharing(1)
    connections.of('juliet@capulet.lit')
    connections.delete(sessions[0]!)
    expect(connections.of('juliet@capulet.lit')).toBeUndefined()
    expect(connections.shared).toBe(false)
    const next = session('next')
    connections.add(next, false)
    expect(connections.of('juliet@capulet.lit')).toBe(next)
    expect(connections.shared).toBe(false)
  })
})

it('a stanza that is for one connection is for that one', () => {
  const { connections, sessions } = sharing(2)
  const stanza = new Stanza('iq', { type: 'set', id: 'a' })
  expect(connections.directionOf(stanza)).toBeUndefined()
  connections.direct(stanza, sessions[1]!)
  expect(connections.directionOf(stanza)).toBe(sessions[1])
})
