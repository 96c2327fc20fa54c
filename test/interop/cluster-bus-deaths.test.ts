/** The bus over Redis when a process dies, stands still, or is cut off: the others know within the lease. */

import { connect, createServer, type Server, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest'
import { MemberProcess, TestMember } from '../shared/cluster-member.ts'
import { redisAvailable, type SingleRedis, startRedis, until } from '../shared/peers/redis.ts'
import { describePeer } from '../shared/require.ts'

const LEASE = 1

describePeer('a process of a cluster over Redis', redisAvailable(), () => {
  let peer: SingleRedis
  const opened: TestMember[] = []
  const processes: MemberProcess[] = []
  let prefixes = 0
  let prefix = ''

  beforeAll(async () => {
    peer = await startRedis()
  })
  afterAll(() => peer.stop())
  afterEach(async () => {
    await Promise.all(processes.splice(0).map((process) => process.end()))
    await Promise.all(opened.splice(0).map(({ bus }) => bus.leave()))
    prefix = ''
  })

  const redis = (url = peer.redis.url) => {
    if (prefix === '') prefix = `test${prefixes++}`
    return { url, prefix }
  }

  async function open(name: string, { url, lease = LEASE }: { url?: string; lease?: number } = {}) {
    const member = await TestMember.open({ name, redis: redis(url), lease })
    opened.push(member)
    return member
  }

  async function fork(name: string, { lease = LEASE } = {}) {
    const member = await MemberProcess.open({ name, redis: redis(), lease })
    processes.push(member)
    return member
  }

  function inInbox(id: string, count: number): Promise<void> {
    const inbox = `{${prefix}:cluster}:inbox:${id}`
    return until('it is in the inbox', async () => (await peer.redis.cli('xlen', inbox)) === `${count}`)
  }

  it('is dead for all after kill -9; each message was received or is lost', async () => {
    const [a, b, child] = [await open('a'), await open('b'), await fork('child')]
    child.publish('x', '1')
    await a.until('a sees the child', () => a.held.get('child')?.get('x') === '1')
    const told: string[] = []
    for (let i = 0; i < 1000; i++) told.push(`m ${i}`)
    for (const text of told) a.send(a.idOf('child'), text)
    await child.until('some are here', () => child.count('received') > 0)
    child.kill('SIGKILL')
    await a.until('a knows', () => a.count('left', 'child', 'dead') === 1)
    await b.until('b knows', () => b.count('left', 'child', 'dead') === 1)
    expect(a.of('left')).toEqual([['child', 'dead', 'x=1']])
    const handedOver = new Set(child.handedOver)
    const lost = new Set(a.of('lost').map(([text]) => text!))
    expect(told.filter((text) => !handedOver.has(text) && !lost.has(text))).toEqual([])
    expect(handedOver.size).toBe(child.handedOver.length)
    expect(lost.size).toBe(a.count('lost'))
    expect(await peer.redis.cli('keys', `*${prefix}*:*${child.id}`)).toContain('gone')
    expect(await peer.redis.cli('keys', `*${prefix}*:inbox:${child.id}`)).toBe('')
    expect(await peer.redis.cli('keys', `*${prefix}*:state:${child.id}`)).toBe('')
  })

  it('ends by itself once it has left', async () => {
    const [a, child] = [await open('a'), await fork('child')]
    child.send(a.bus.self.id, 'm', 10)
    child.leave()
    await child.until('it has ended', () => child.count('exit') === 1)
    await a.until('a knows', () => a.count('left', 'child', 'orderly') === 1)
    expect([a.count('received'), child.count('lost')]).toEqual([10, 0])
  })

  it('that dies while Redis forgets everything is dead for the others', async () => {
    const [a, b, child] = [await open('a'), await open('b'), await fork('child')]
    a.bus.publish('x', '1')
    await b.until('b knows all', () => b.knows('child') && b.held.get('a')?.get('x') === '1')
    await peer.redis.kill()
    child.kill('SIGKILL')
    a.send(a.idOf('child'), 'to child')
    a.send(a.idOf('b'), 'to b')
    await peer.redis.start()
    for (const one of [a, b]) await one.until('it knows', () => one.count('left', 'child', 'dead') === 1)
    await a.until('it is lost', () => a.count('lost', 'to child') === 1)
    await b.until('it is here', () => b.count('received', 'a', 'to b') === 1)
    expect([a.count('left'), b.count('left'), a.count('lost'), b.count('expelled')]).toEqual([1, 1, 1, 0])
    expect([...b.held.get('a')!]).toEqual([['x', '1']])
  })

  it('is sent again what Redis has lost before it was read, also when nothing else is sent', async () => {
    const [a, child] = [await open('a', { lease: 4 }), await fork('child', { lease: 4 })]
    await a.until('a sees the child', () => a.knows('child'))
    const id = a.idOf('child')
    child.kill('SIGSTOP')
    // What waits for the first one is given it at once; the second one stays in the inbox.
    a.send(id, 'first')
    await inInbox(id, 1)
    a.send(id, 'second')
    await inInbox(id, 2)
    await peer.redis.cli('del', `{${prefix}:cluster}:inbox:${id}`)
    child.kill('SIGCONT')
    await child.until('both are here', () => child.count('received') === 2)
    await until('they are acknowledged', async () => a.unacknowledged === 0)
    expect(child.handedOver).toEqual(['first', 'second'])
    expect([a.count('lost'), child.count('expelled')]).toEqual([0, 0])
  })

  it('that stood still for two leases is expelled, and works on nothing that is lost for others', async () => {
    const [a, child] = [await open('a'), await fork('child')]
    child.publish('x', '1')
    await a.until('a sees the child', () => a.held.get('child')?.get('x') === '1')
    const former = a.idOf('child')
    for (let i = 0; i < 1000; i++) a.send(former, `before ${i}`)
    await child.until('some are here', () => child.count('received') > 0)
    child.kill('SIGSTOP')
    for (let i = 0; i < 1000; i++) a.send(former, `after ${i}`)
    await a.until('it is dead', () => a.count('left', 'child', 'dead') === 1)
    expect(a.count('lost')).toBeGreaterThanOrEqual(1000)
    const handedOver = child.handedOver.length
    await sleep(LEASE * 1000)
    child.kill('SIGCONT')
    await child.until('it is expelled', () => child.count('expelled') === 1)
    await a.until(
      'it is back',
      () => a.count('joined', 'child') === 2 && a.held.get('child')?.get('x') === '1',
    )
    expect(a.idOf('child')).not.toBe(former)
    a.send(a.idOf('child'), 'again')
    await child.until('it takes messages', () => child.count('received', 'a', 'again') === 1)
    // It may have been just at work when it was stopped.
    const [atWork, ...rest] = child.handedOver.slice(handedOver).reverse().slice(1)
    expect([atWork ?? 'before', rest]).toEqual([expect.stringContaining('before'), []])
    expect(child.handedOver.at(-1)).toBe('again')
    expect(child.count('joined', 'a')).toBe(2)
  })

  it('that is cut off from Redis is dead for the others, and learns of it when it is back', async () => {
    const proxy = new CuttingProxy(peer.redis.port)
    const url = await proxy.listen()
    const [a, b, c] = [await open('a'), await open('b'), await open('c', { url })]
    c.bus.publish('x', '1')
    c.atExpulsion = () => c.bus.publish('x', '2')
    await a.until('a sees c', () => a.held.get('c')?.get('x') === '1')
    proxy.pause()
    c.send(c.idOf('a'), 'from c')
    c.bus.publish('y', '1')
    const published = c.bus.published()
    a.send(a.idOf('c'), 'to c')
    await a.until('a knows', () => a.count('left', 'c', 'dead') === 1)
    await b.until('b knows', () => b.count('left', 'c', 'dead') === 1)
    expect(c.count('left')).toBe(0)
    proxy.goOn()
    await c.until('c is expelled', () => c.count('expelled') === 1)
    await published
    await b.until('c is back', () => b.held.get('c')?.get('x') === '2')
    expect(b.held.get('c')?.has('y')).toBe(false)
    expect([a.of('lost'), c.of('lost')]).toEqual([[['to c']], [['from c']]])
    expect([a.count('received'), c.count('received')]).toEqual([0, 0])
    expect(c.count('left')).toBe(0)
    await proxy.close()
  })
})

/** What stands between a process and Redis, and can stop to pass anything on. */
class CuttingProxy {
  private readonly server: Server
  private readonly sockets = new Set<Socket>()
  private paused = false

  constructor(port: number) {
    this.server = createServer((socket) => {
      const onward = connect(port, '127.0.0.1')
      for (const [one, other] of [
        [socket, onward],
        [onward, socket],
      ] as const) {
        this.sockets.add(one)
        one.on('error', () => {})
        one.on('close', () => {
          this.sockets.delete(one)
          other.destroy()
        })
        one.on('data', (data) => other.write(data))
        if (this.paused) one.pause()
      }
    })
  }

  listen(): Promise<string> {
    return new Promise((resolve) => {
      this.server.listen(0, '127.0.0.1', () => {
        resolve(`redis://127.0.0.1:${(this.server.address() as { port: number }).port}`)
      })
    })
  }

  pause(): void {
    this.paused = true
    for (const socket of this.sockets) socket.pause()
  }

  goOn(): void {
    this.paused = false
    for (const socket of this.sockets) socket.resume()
  }

  close(): Promise<unknown> {
    for (const socket of this.sockets) socket.destroy()
    return new Promise((resolve) => this.server.close(resolve))
  }
}
