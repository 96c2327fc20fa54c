// Which client is connected to which process of a server, and whether the processes know of each other's clients.
import { setTimeout as sleep } from 'node:timers/promises'
import { remotePortsOf } from '../process-figures.ts'
import type { Client } from './client.ts'
import { type Connection, IGNORE } from './connection.ts'
import { attribute } from './reading.ts'
import { OTHER } from './skeleton.ts'
import { chatMessage, delegatedRequest, operationId } from './stanzas.ts'

/**
 * Those of the first worker, then those of the second, and so on; as many of each.
 * @param workers process ids; with none, or one, the clients stay as they are
 * @throws Error when they are not spread evenly
 */
export function inOrderOfWorkers(clients: readonly Client[], workers: readonly number[]): Client[] {
  if (workers.length < 2) return [...clients]
  const groups = workers.map((pid) => {
    const ports = remotePortsOf(pid)
    return clients.filter(({ connection }) => ports.has(connection.localPort))
  })
  const share = clients.length / workers.length
  if (groups.some((group) => group.length !== share)) {
    const found = groups.map((group) => group.length).join(' and ')
    throw new Error(`the clients are not spread evenly: the workers have ${found} of ${clients.length}`)
  }
  return groups.flat()
}

const LIMIT_MS = 20_000
const RETRY_MS = 20
const ID = operationId(0, 0, 0)

/**
 * Waits until a message comes from each client to its counterpart in the other half, and every client gets an answer from
 * the manager: a process learns a moment later of who has connected to another.
 * @throws Error when it takes too long, or a connection breaks
 */
export async function acquaint(clients: readonly Client[]): Promise<void> {
  const half = Math.floor(clients.length / 2)
  for (const [index, { connection }] of clients.entries()) {
    const other = clients[(index + half) % clients.length]!
    await untilHeard([connection], () => connection.send(delegatedRequest(ID)))
    await untilHeard([connection, other.connection], () => connection.send(chatMessage(other.jid, ID)))
  }
}

/** Sends until what comes back is no error. */
async function untilHeard(connections: readonly Connection[], send: () => void): Promise<void> {
  const deadline = performance.now() + LIMIT_MS
  for (;;) {
    const heard = await firstHeard(connections, send, Math.max(deadline - performance.now(), RETRY_MS))
    if (attribute(heard, 0, heard.indexOf('>'), 'type') !== 'error') return
    if (performance.now() > deadline) {
      throw new Error(`the server's processes do not learn of each other's clients: ${heard.slice(0, 600)}`)
    }
    await sleep(RETRY_MS)
  }
}

/** The first stanza with the id on any of these connections. */
async function firstHeard(
  connections: readonly Connection[],
  send: () => void,
  limitMs: number,
): Promise<string> {
  let timer: NodeJS.Timeout | undefined
  try {
    return await new Promise<string>((resolve, reject) => {
      timer = setTimeout(() => reject(new Error('nothing came of what a client has sent')), limitMs)
      for (const connection of connections) {
        connection.onFailure = reject
        connection.listen({
          quick: () => OTHER,
          slow(bytes, at, end) {
            const stanza = bytes.toString('latin1', at, end)
            if (attribute(stanza, 0, stanza.indexOf('>'), 'id') === ID) resolve(stanza)
          },
        })
      }
      send()
    })
  } finally {
    clearTimeout(timer)
    for (const connection of connections) {
      connection.onFailure = () => {}
      connection.listen(IGNORE)
    }
  }
}
