/** The bus over Redis: joining and leaving, entries, and messages in order and once. */

import { afterAll, afterEach, beforeAll, expect, it } from 'vitest'
import { type MemberOptions, TestMember } from '../shared/cluster-member.ts'
import { redisAvailable, type SingleRedis, startRedis } from '../shared/peers/redis.ts'
import { describePeer } from '../shared/require.ts'

describePeer('the bus over Redis', redisAvailable(), () => {
  let peer: SingleRedis
  const opened: TestMember[] = []
  let prefixes = 0
  let prefix = ''

  beforeAll(async () => {
    peer = await startRedis()
  })
  afterAll(() => peer.stop())
  afterEach(async () => {
    await Promise.all(opened.splice(0).map(({ bus }) => bus.leave()))
    prefix = ''
  })

  async function open(name: string, options: Partial<MemberOptions> = {}): Promise<TestMember> {
    if (prefix === '') prefix = `test${prefixes++}`
    const member = await TestMember.open({ name, redis: { url: peer.redis.url, prefix }, ...options })
    opened.push(member)
    return member
  }

  async function three(): Promise<[TestMember, TestMember, TestMember]> {
    const [a, b, c] = [await open('a'), await open('b'), await open('c')]
    await a.until('a knows c', () => a.knows('b') && a.knows('c'))
    await b.until('b knows c', () => b.knows('c'))
    return [a, b, c]
  }

  it('tells of who comes, what it holds, and who leaves, also those who come late', async () => {
    const [a, b] = [await open('a'), await open('b')]
    a.bus.publish('x', '1')
    a.bus.publish('y', '2')
    await b.until('b has y', () => b.held.get('a')?.get('y') === '2')
    a.bus.publish('x', undefined)
    a.bus.publish('y', '3')
    await a.bus.published()
    const c = await open('c')
    expect([...c.held.get('a')!]).toEqual([['y', '3']])
    expect(c.told[0]![0]).toBe('joined')
    await a.bus.leave()
    for (const other of [b, c]) {
      await other.until('a has left', () => other.count('left') > 0)
      expect(other.of('left')).toEqual([['a', 'orderly', 'y=3']])
      expect([...other.bus.members.values()].map(({ info }) => info.name).sort()).toEqual(['b', 'c'])
    }
    expect(await peer.redis.cli('keys', `*${prefix}*state*`)).toBe('')
    expect(await peer.redis.cli('keys', `*${prefix}*inbox:${a.bus.self.id}`)).toBe('')
  })

  it('hands over ten thousand messages among three, each once and in order', async () => {
    const members = await three()
    const each = 10_000 / 6
    for (let i = 0; i < each; i++) {
      for (const from of members) {
        for (const to of members) if (to !== from) from.send(from.idOf(to.name), `${i}`)
      }
      if (i % 50 === 0) await new Promise(setImmediate)
    }
    const expected = Array.from({ length: Math.ceil(each) }, (_, i) => `${i}`)
    for (const member of members) {
      await member.until('all are here', () => member.count('received') >= 2 * expected.length)
      for (const other of members.filter((one) => one !== member)) {
        const texts = member.of('received').filter(([from]) => from === other.name)
        expect(texts.map(([, text]) => text)).toEqual(expected)
      }
    }
    await Promise.all(members.map(({ bus }) => bus.leave()))
    expect(members.map((one) => [one.unacknowledged, one.count('lost')])).toEqual(Array(3).fill([0, 0]))
  })

  it('keeps the order of entries and messages of one member', async () => {
    const [a, b] = await three()
    for (let i = 0; i < 100; i++) {
      a.bus.publish('n', `${i}`)
      a.send(a.idOf('b'), `${i}`)
    }
    await b.until('all are here', () => b.count('received') === 100)
    const told = b.told.filter(([what]) => what === 'changed' || what === 'received')
    expect(told.map((one) => one.at(-1))).toEqual(
      Array.from({ length: 200 }, (_, i) => `${Math.floor(i / 2)}`),
    )
  })

  it('takes texts as they are', async () => {
    const [a, b] = await three()
    const texts = ['', '\n', '1,2\nx', 'é\u{1f600}\u{1f600}', '\ud83d', 'x'.repeat(200_000), '<a/>']
    for (const text of texts) a.send(a.idOf('b'), text)
    await b.until('all are here', () => b.count('received') === texts.length)
    const got = b.of('received').map(([, text]) => text)
    expect(got).toEqual(texts.map((text) => Buffer.from(text).toString()))
  })

  it('acknowledges a message when its work is done, in order, and goes on meanwhile', async () => {
    const [a, b] = await three()
    const finish: (() => void)[] = []
    b.work = () => new Promise((resolve) => finish.push(resolve))
    for (let i = 0; i < 3; i++) a.send(a.idOf('b'), `${i}`)
    await b.until('all are here', () => b.count('received') === 3)
    finish[2]!()
    finish[1]!()
    b.send(b.idOf('a'), 'with a receipt')
    await a.until('it is here', () => a.count('received') === 1)
    expect(a.unacknowledged).toBe(3)
    finish[0]!()
    await a.bus.leave()
    expect(a.count('lost')).toBe(0)
  })

  it('tells at once who waits for a message that is done before earlier ones, and does not call it lost', async () => {
    const [a, b, c] = await three()
    const finish: (() => void)[] = []
    b.work = () => new Promise((resolve) => finish.push(resolve))
    const told: string[] = []
    const send = (name: string) =>
      a.bus.send(a.idOf('b'), name, {
        done: () => told.push(`${name} done`),
        lost: () => told.push(`${name} lost`),
      })
    const numbers = ['x', 'y', 'z'].map(send)
    await b.until('all are here', () => b.count('received') === 3)
    finish[1]!()
    await expect.poll(() => told.length).toBeGreaterThan(0)
    expect(told).toEqual(['y done'])
    // What has come back is told nothing of any more.
    a.bus.takeBack(a.idOf('b'), numbers[2]!)!.done!()
    expect([99, numbers[1]!].map((number) => a.bus.takeBack(a.idOf('b'), number))).toEqual([
      undefined,
      undefined,
    ])
    await b.bus.leave()
    await a.until('b has left', () => a.count('left') === 1)
    await c.until('b has left', () => c.count('left') === 1)
    expect(told).toEqual(['y done', 'z done', 'x lost'])
  })

  it('tells what a member says before that something has arrived there, of which it may be', async () => {
    const [a, b] = [await open('a'), await open('b')]
    await a.until('they know each other', () => a.knows('b') && b.knows('a'))
    a.work = (text) => a.add('heard', text)
    b.work = (text) => b.send(b.idOf('a'), `of ${text}`)
    for (let i = 0; i < 20; i++) {
      a.bus.send(a.idOf('b'), `${i}`, { lost() {}, done: () => a.add('done', `${i}`) })
      await a.until('it has arrived', () => a.count('done', `${i}`) === 1)
    }
    const told = a.told.filter(([what]) => what === 'heard' || what === 'done').map((one) => one.join(' '))
    expect(told).toEqual(Array.from({ length: 20 }, (_, i) => [`heard of ${i}`, `done ${i}`]).flat())
  })

  it('says that messages are lost to who is not there', async () => {
    const a = await open('a')
    a.send('nobody', 'x')
    expect(a.count('lost')).toBe(0)
    await a.until('it is lost', () => a.count('lost', 'x') === 1)
  })

  it('says when too much waits for a member, and when it does no longer', async () => {
    const [a, b] = await three()
    const finish: (() => void)[] = []
    b.work = () => new Promise((resolve) => finish.push(resolve))
    const text = 'x'.repeat(10_000)
    for (let i = 0; i < 150; i++) a.send(a.idOf('b'), text)
    expect(a.of('congested')).toEqual([['b', 'true']])
    await b.until('b has all', () => b.count('received') === 150)
    for (const one of finish) one()
    await a.until('it is no longer', () => a.count('congested', 'b', 'false') === 1)
    expect(a.count('lost')).toBe(0)
  })

  it('sends nothing but beats while there is nothing to say', async () => {
    const [a] = await three()
    await new Promise((resolve) => setTimeout(resolve, 200))
    const before = a.bus.state().commands
    await new Promise((resolve) => setTimeout(resolve, 1000))
    // Eight beats a lease, and two reads.
    expect(a.bus.state().commands - before).toBeLessThanOrEqual(12)
  })

  it('takes less than one command for a message under load', async () => {
    const [a, b] = await three()
    const commands = () => [a, b].reduce((sum, { bus }) => sum + bus.state().commands, 0)
    const before = commands()
    b.work = (text) => b.send(b.idOf('a'), `re ${text}`)
    for (let i = 0; i < 100; i++) {
      for (let k = 0; k < 20; k++) a.send(a.idOf('b'), `${i} ${k}`)
      const wanted = Math.max(0, (i - 1) * 20)
      await a.until('it goes on', () => a.count('received') >= wanted)
    }
    await a.until('all are answered', () => a.count('received') === 2000)
    expect((commands() - before) / 4000).toBeLessThan(0.2)
  })
})
