/**
 * Ends a connection on Redis's side that was given up on ours. What was written to it may still lie in buffers on
 * the way, of a network that was cut or a Redis that was stopped; carried out later, it could undo what the next
 * connection has written and Redis has acknowledged.
 */

import type { Redis } from 'ioredis'

/** A connection as Redis knows it. */
interface Peer {
  readonly id: string
  /** Our address, as Redis sees it. A Redis that was restarted counts its ids anew, but this is not the same. */
  readonly address: string
}

/** @returns what watches one client, or each node's in turn, if it is one of a cluster */
export function forgetFormerConnections(): (client: Redis) => void {
  const former = new Map<string, Peer>()
  return (client) => {
    const place = `${client.options.path ?? ''}|${client.options.host ?? ''}|${client.options.port ?? ''}`
    // Before anything else that is sent after the login. Who may not do it (an ACL) goes on without.
    client.on('connect', () => {
      const peer = former.get(place)
      if (peer === undefined) return
      former.delete(place)
      client.call('client', 'KILL', 'ID', peer.id, 'ADDR', peer.address).catch(() => {})
    })
    client.on('ready', () => {
      client.call('client', 'INFO').then(
        (line) => {
          const [, id] = /\bid=(\d+)/.exec(String(line)) ?? []
          const [, address] = /\baddr=(\S+)/.exec(String(line)) ?? []
          if (id !== undefined && address !== undefined) former.set(place, { id, address })
        },
        () => {}, // Redis before 6.2
      )
    })
  }
}
