/** Reading from all sockets into one buffer. */

import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { makeSharedReading } from '../../server/net/shared-buffer.ts'

let server: Server
let open: Socket[]

beforeEach(async () => {
  server = createServer({ allowHalfOpen: true })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  open = []
})

afterEach(() => {
  for (const socket of open) socket.destroy()
  server.close()
})

async function pair(): Promise<{ client: Socket; accepted: Socket }> {
  const coming = once(server, 'connection') as Promise<[Socket]>
  const client = connect((server.address() as { port: number }).port, '127.0.0.1')
  const [accepted] = await coming
  open.push(client, accepted)
  return { client, accepted }
}

/** A reader that keeps what it is told, and which memory it came in. */
function collector() {
  const parts = new Map<Socket, Buffer[]>()
  const memory = new Set<ArrayBufferLike>()
  const read = makeSharedReading(function (chunk) {
    memory.add(chunk.buffer)
    parts.set(this, [...(parts.get(this) ?? []), Buffer.from(chunk)])
  })
  return { read, memory, got: (socket: Socket) => Buffer.concat(parts.get(socket) ?? []) }
}

describe('reading into a shared buffer', () => {
  it('all sockets get their own bytes, through the same memory, and their ends', async () => {
    const { read, memory, got } = collector()
    const pairs = []
    const sent: Buffer[] = []
    for (let i = 0; i < 8; i++) {
      pairs.push(await pair())
      sent.push(randomBytes(300_000))
    }
    await Promise.all(
      pairs.map(({ client, accepted }, i) => {
        read(accepted)
        const ended = once(accepted, 'end')
        client.end(sent[i]!)
        return ended
      }),
    )
    for (const [i, { accepted }] of pairs.entries()) expect(got(accepted).equals(sent[i]!)).toBe(true)
    // Were this to fail with a new Node, it would have to be found out how sockets are made there.
    expect(memory.size).toBe(1)
  })

  it('a socket that is paused while it is read from is not read on until it is resumed', async () => {
    const { client, accepted } = await pair()
    let total = 0
    let whole = () => {}
    const done = new Promise<void>((resolve) => {
      whole = resolve
    })
    let paused = false
    makeSharedReading(function (chunk) {
      expect(paused).toBe(false)
      total += chunk.length
      this.pause()
      paused = true
      setImmediate(() => {
        paused = false
        this.resume()
      })
      if (total === 1_000_000) whole()
    })(accepted)
    client.write(randomBytes(1_000_000))
    await done
  })

  it('where Node offers no such way, each chunk comes as ever', async () => {
    const { read, got } = collector()
    const { client, accepted } = await pair()
    const handle = (accepted as unknown as { _handle: object })._handle
    Object.defineProperty(handle, 'useUserBuffer', { value: undefined })
    read(accepted)
    client.end('as ever')
    await once(accepted, 'end')
    expect(got(accepted).toString()).toBe('as ever')
  })
})
