/** Processes of a cluster that die, stop and come back: real ones, over a real Redis. */

import { afterEach, beforeEach, expect, it } from 'vitest'
import { connectComponent, login, type TestStream } from '../shared/client.ts'
import { forwardedTo, innerAnswer, replyText, unreadRequests, wrapped } from '../shared/delegation.ts'
import { LegateFolder, ON_FREE_PORTS, type RunningLegate } from '../shared/legate-command.ts'
import { redisAvailable, type SingleRedis, startRedis } from '../shared/peers/redis.ts'
import { describePeer } from '../shared/require.ts'

const NS = 'urn:example:notes'
const USERS = ['juliet', 'romeo', 'nurse']
const LEASE = 2

function configFor(redis: string, number: number): string {
  return `${ON_FREE_PORTS}
storage = "redis"
redis = { url = "${redis}", prefix = "test" }
cluster = { name = "process ${number}" }
cluster_lease = ${LEASE}
VirtualHost "capulet.lit"
    delegations = { ["${NS}"] = { jid = "notes.capulet.lit" } }
Component "notes.capulet.lit"
    component_secret = "secret"
    component_conflict_resolve = "share"
    modules_enabled = { "delegation" }
`
}

/** The messages of a conversation, as both ends have seen them. */
class Conversation {
  private readonly from: TestStream
  private readonly to: TestStream
  private readonly letter: string
  private sent = 0

  /** @param letter - what its ids begin with */
  constructor(from: TestStream, to: TestStream, letter = 'm') {
    this.from = from
    this.to = to
    this.letter = letter
  }

  /** Sends some more. */
  say(count: number): void {
    let text = ''
    for (let index = 0; index < count; index++) {
      const id = `${this.letter}${this.sent++}`
      text += `<message type='chat' id='${id}' to='${this.to.jid}'><body>${id}</body></message>`
    }
    this.from.send(text)
  }

  /** Which messages have come, and for which an error has. */
  private seen() {
    const idsIn = (stream: TestStream, isError: boolean) =>
      stream.received
        .filter(
          ({ name, attrs }) =>
            name === 'message' && (attrs.type === 'error') === isError && attrs.id?.[0] === this.letter,
        )
        .map(({ attrs }) => attrs.id!)
    return { arrived: idsIn(this.to, false), refused: idsIn(this.from, true) }
  }

  /** Waits until each message has either arrived or come back as an error, and sees that none arrived twice. */
  async settled(): Promise<{ arrived: number; refused: number }> {
    const all = new Set(Array.from({ length: this.sent }, (_, number) => this.letter + number))
    await expect
      .poll(
        () => {
          const { arrived, refused } = this.seen()
          const known = new Set([...arrived, ...refused])
          return [...all].filter((id) => !known.has(id)).length
        },
        { timeout: 20_000 },
      )
      .toBe(0)
    const { arrived, refused } = this.seen()
    expect(new Set(arrived).size).toBe(arrived.length)
    expect(new Set(refused).size).toBe(refused.length)
    // In order, too.
    expect(arrived).toEqual([...arrived].sort((one, other) => Number(one.slice(1)) - Number(other.slice(1))))
    return { arrived: arrived.length, refused: refused.length }
  }
}

describePeer('a cluster of processes', redisAvailable(), () => {
  let peer: SingleRedis
  let folders: LegateFolder[]
  let processes: RunningLegate[]
  let streams: TestStream[]

  beforeEach(async () => {
    peer = await startRedis({ appendonly: 'yes', appendfsync: 'always' })
    folders = [0, 1, 2].map((number) => new LegateFolder(configFor(peer.redis.url, number)))
    streams = []
    processes = await Promise.all(folders.map((folder) => folder.start()))
    for (const user of USERS) {
      const { code, stderr } = await folders[0]!.run(['register', user, 'capulet.lit', 'pw'])
      expect([code, stderr]).toEqual([0, ''])
    }
  }, 60_000)

  afterEach(async () => {
    for (const stream of streams) stream.socket.destroy()
    for (const { child } of processes) child.kill('SIGCONT')
    for (const folder of folders) await folder.remove()
    await peer.stop()
  })

  const componentPort = ({ text }: RunningLegate) =>
    Number(/listening for component connections.* port=(\d+)/.exec(text)?.[1])
  const enter = async (number: number, jid: string): Promise<TestStream> => {
    const stream = await login(processes[number]!.c2sPort, jid)
    streams.push(stream)
    return stream
  }
  const manager = async (number: number): Promise<TestStream> => {
    const stream = await connectComponent(componentPort(processes[number]!), 'notes.capulet.lit')
    streams.push(stream)
    await stream.named('message')
    return stream
  }
  const befriend = async (juliet: TestStream, romeo: TestStream) => {
    juliet.send("<presence type='subscribe' to='romeo@capulet.lit'/>")
    await romeo.next(({ attrs }) => attrs.type === 'subscribe')
    romeo.send("<presence type='subscribed' to='juliet@capulet.lit'/>")
    await juliet.next(({ attrs }) => attrs.from === romeo.jid && attrs.type === undefined)
  }

  it('one is killed under load: its sessions are gone within the lease, messages arrive once or come back', async () => {
    const juliet = await enter(0, 'juliet@capulet.lit/balcony')
    const romeo = await enter(1, 'romeo@capulet.lit/orchard')
    const nurse = await enter(2, 'nurse@capulet.lit/hall')
    await befriend(juliet, romeo)
    const toRomeo = new Conversation(juliet, romeo)
    const toNurse = new Conversation(juliet, nurse, 'n')
    toRomeo.say(500)
    toNurse.say(500)
    processes[1]!.child.kill('SIGKILL')
    toRomeo.say(500)
    toNurse.say(500)
    await juliet.next(
      ({ name, attrs }) => name === 'presence' && attrs.from === romeo.jid && attrs.type === 'unavailable',
    )
    // Those that arrived may come back as well: that they had was not known.
    await toRomeo.settled()
    expect(await toNurse.settled()).toEqual({ arrived: 1000, refused: 0 })
    // The resource is free.
    expect((await enter(2, 'romeo@capulet.lit/orchard')).jid).toBe('romeo@capulet.lit/orchard')
    juliet.send("<message type='chat' id='again' to='romeo@capulet.lit/orchard'><body>x</body></message>")
    await streams.at(-1)!.withId('again')
  }, 60_000)

  it("F7: a manager's process is killed with 1000 requests waiting: each has one answer within the lease", async () => {
    const notes = await manager(1)
    const juliet = await enter(0, 'juliet@capulet.lit/balcony')
    const first = juliet.ask(`<iq type='get' id='first'><notes xmlns='${NS}'/></iq>`)
    const forwarded = await forwardedTo(notes)
    notes.send(replyText(forwarded, wrapped(innerAnswer(forwarded))))
    expect((await first).attrs.type).toBe('result')
    let text = ''
    for (let number = 0; number < 1000; number++)
      text += `<iq type='get' id='q${number}'><notes xmlns='${NS}'/></iq>`
    juliet.send(text)
    await expect.poll(() => unreadRequests(notes).length, { timeout: 20_000 }).toBe(1000)
    processes[1]!.child.kill('SIGKILL')
    const answers = () => juliet.received.filter(({ attrs }) => attrs.id?.startsWith('q') === true)
    await expect.poll(() => answers().length, { timeout: 20_000 }).toBe(1000)
    expect(new Set(answers().map(({ attrs }) => attrs.id)).size).toBe(1000)
    for (const answer of answers())
      expect(answer.getChild('error')?.getChild('service-unavailable')).toBeDefined()
  }, 60_000)

  it('one is stopped for longer than the lease and goes on: it ends the sessions that were taken from it', async () => {
    const juliet = await enter(0, 'juliet@capulet.lit/balcony')
    const romeo = await enter(1, 'romeo@capulet.lit/orchard')
    await befriend(juliet, romeo)
    const conversation = new Conversation(juliet, romeo)
    conversation.say(200)
    processes[1]!.child.kill('SIGSTOP')
    conversation.say(200)
    await juliet.next(
      ({ name, attrs }) => name === 'presence' && attrs.from === romeo.jid && attrs.type === 'unavailable',
    )
    const instead = await enter(2, 'romeo@capulet.lit/orchard')
    processes[1]!.child.kill('SIGCONT')
    await romeo.named('error')
    expect(romeo.text).toContain('<reset')
    await conversation.settled()
    juliet.send("<message type='chat' id='now' to='romeo@capulet.lit/orchard'><body>x</body></message>")
    await instead.withId('now')
    // It is one of them again.
    const nurse = await enter(1, 'nurse@capulet.lit/hall')
    juliet.send("<message type='chat' id='hall' to='nurse@capulet.lit'><body>x</body></message>")
    await nurse.withId('hall')
    // Nobody has been told that the one in its place is gone.
    expect(
      juliet.received.filter(
        ({ name, attrs }) => name === 'presence' && attrs.from === romeo.jid && attrs.type === 'unavailable',
      ),
    ).toEqual([])
  }, 60_000)

  it.each([
    ['is stopped for longer than the lease', async () => peer.redis.pause(), async () => peer.redis.goOn()],
    ['is killed and started again', () => peer.redis.kill(), () => peer.redis.start()],
  ])(
    'Redis %s: nobody is taken for dead, nothing is lost',
    async (_, take, give) => {
      const juliet = await enter(0, 'juliet@capulet.lit/balcony')
      const romeo = await enter(1, 'romeo@capulet.lit/orchard')
      const here = await enter(0, 'nurse@capulet.lit/hall')
      const across = new Conversation(juliet, romeo)
      const within = new Conversation(juliet, here)
      across.say(200)
      await take()
      across.say(200)
      within.say(200)
      // What stays within a process needs no Redis.
      expect(await within.settled()).toEqual({ arrived: 200, refused: 0 })
      await new Promise((resolve) => setTimeout(resolve, 1.5 * LEASE * 1000)) // the time is what is tested
      across.say(200)
      await give()
      expect(await across.settled()).toEqual({ arrived: 600, refused: 0 })
      expect(romeo.ended).toBe(false)
      for (const { text } of processes) expect(text).not.toMatch(/is dead|taken this (one|process) for dead/)
    },
    60_000,
  )
})
