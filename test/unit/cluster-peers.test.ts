/** In which order is worked on what comes from somebody at another process. */

import { expect, it } from 'vitest'
import { type PeerLink, RemotePeer } from '../../server/cluster/peers.ts'
import type { Host } from '../../server/host.ts'
import { silentLogger } from '../../server/log.ts'

const MEMBER = { id: 'm', info: { name: 'm', pid: 1, since: 0, version: '1', tag: 't' } }

function remotePeer() {
  const link: PeerLink = { sendStanza: () => {}, sendText: () => {} }
  const key = { kind: 's', id: '1', jid: 'romeo@montague.lit/orchard' } as const
  const host = { log: silentLogger } as Host
  return new RemotePeer(link, MEMBER, key, host, { sequence: 1, since: 0 })
}

/** A promise, and what settles it. */
function gate() {
  let open = () => {}
  const promise = new Promise<void>((resolve) => {
    open = resolve
  })
  return { promise, open }
}

it('works on what waits when nothing holds it back any more, what was at its turn before first', async () => {
  const peer = remotePeer()
  const done: string[] = []
  const does = (name: string) => () => void done.push(name)
  expect(peer.work(does('now'))).toBeUndefined()
  const { promise, open } = gate()
  peer.hold(promise)
  const later = [peer.work(does('later')), peer.work(does('last'))]
  // It came before these, and waited for something else than they do.
  const before = peer.goOnWith(does('before'))
  expect([done, peer.isHeld]).toEqual([['now'], true])
  open()
  await Promise.all([...later, before])
  expect([done, peer.isHeld]).toEqual([['now', 'before', 'later', 'last'], false])
})

it('is not done with a stanza before what was made of it has arrived at other processes', async () => {
  const peer = remotePeer()
  const copy = {}
  let isDone = false
  const work = peer.work(() => void peer.begin(copy, true)) as Promise<void>
  void work.then(() => {
    isDone = true
  })
  await Promise.resolve()
  expect(isDone).toBe(false)
  peer.end(copy)
  await work
})

it('holds back again for what one of those that waited begins', async () => {
  const peer = remotePeer()
  const done: string[] = []
  const [first, second] = [gate(), gate()]
  peer.hold(first.promise)
  peer.work(() => {
    done.push('a')
    peer.hold(second.promise)
  })
  const last = peer.work(() => void done.push('b'))
  first.open()
  await first.promise
  await Promise.resolve()
  expect(done).toEqual(['a'])
  second.open()
  await last
  expect(done).toEqual(['a', 'b'])
})
