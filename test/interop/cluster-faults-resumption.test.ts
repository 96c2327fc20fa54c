/** kill -9 where a session is resumed over another process than its own (XEP-0198 §5): of either of the two. */

import type { Element } from '@xmpp/xml'
import { afterEach, expect, it } from 'vitest'
import { login, type TestStream } from '../shared/client.ts'
import { inTime } from '../shared/in-time.ts'
import { randomNumbers } from '../shared/kept-messages.ts'
import { DOMAIN, LegateCluster, served, singleRedis } from '../shared/legate-cluster.ts'
import { redisAvailable } from '../shared/peers/redis.ts'
import { describePeer } from '../shared/require.ts'
import { authenticate, type ManagedClient, manage, resume, SM, until } from '../shared/stream-management.ts'

const JULIET = `juliet@${DOMAIN}`
const ROMEO = `romeo@${DOMAIN}`
const MAM = 'urn:xmpp:mam:2'
/** The session's process, the one that its client comes to, and its contact's. */
const OWN = 0
const RELAY = 1
const OTHER = 2
/** Messages that each of both sends, and how many may be unacknowledged. */
const EACH = 300
const AHEAD = 20
const TEST_MS = 120_000
const PATIENCE_MS = 30_000

const IM = `
modules_enabled = { "saslauth", "roster", "disco", "ping", "carbons", "mam", "offline", "smacks" }
default_archive_policy = true
max_archive_query_results = 1000
`

/** Somebody who writes, as fast as it is acknowledged. */
class Writer {
  readonly sent: string[] = []
  /** The first ones are known to be handled. */
  acknowledged = 0
  private readonly prefix: string
  private readonly to: string

  constructor(prefix: string, to: string) {
    this.prefix = prefix
    this.to = to
  }

  text(id: string): string {
    return `<message type='chat' id='${id}' to='${this.to}'><body>${id}</body></message>`
  }

  /** The next ones, up to as many as may be unacknowledged. */
  next(): string {
    let text = ''
    while (this.sent.length < EACH && this.sent.length < this.acknowledged + AHEAD) {
      const id = `${this.prefix}${this.sent.length}`
      this.sent.push(id)
      text += this.text(id)
    }
    return text
  }
}

describePeer('resumption where a process is killed', redisAvailable(), () => {
  const endings: (() => Promise<unknown>)[] = []

  afterEach(async () => {
    for (const end of endings.splice(0).reverse()) await end()
  }, TEST_MS)

  const start = async (): Promise<LegateCluster> => {
    const deployment = await singleRedis(3)
    endings.push(() => deployment.stop())
    const cluster = await LegateCluster.start(deployment, ['juliet', 'romeo'], 3, IM)
    endings.push(() => cluster.stop())
    return cluster
  }
  /** Juliet's session is one process's, and she comes to another one. */
  const resumedElsewhere = async (cluster: LegateCluster): Promise<ManagedClient> => {
    const client = await manage(cluster.c2sPort(OWN), `${JULIET}/balcony`)
    client.acknowledge()
    await client.stream.settled()
    await client.stream.destroy()
    const back = await resume(cluster.c2sPort(RELAY), client)
    back.answers = true
    return back
  }
  const collect = (stream: TestStream) => {
    const seen: string[] = []
    const refused = new Set<string>()
    stream.watch = (element: Element) => {
      if (element.name !== 'message') return false
      const id = element.attrs.id as string
      if (element.attrs.type === 'error') refused.add(id)
      else seen.push(id)
      return true
    }
    return { seen, refused }
  }
  /** Writes until all is sent or the connection is gone; each answered ping acknowledges what was before. */
  const writeAndPing = async (stream: TestStream, writer: Writer): Promise<void> => {
    try {
      while (writer.acknowledged < EACH) {
        stream.send(writer.next())
        const count = writer.sent.length
        await stream.settled()
        writer.acknowledged = count
      }
    } catch {
      // The connection is gone.
    }
  }
  /** The same with what stream management says, from a counter on. */
  const writeManaged = async (client: ManagedClient, writer: Writer, base: number): Promise<void> => {
    try {
      while (writer.acknowledged < EACH) {
        client.stream.send(writer.next())
        writer.acknowledged = (await client.handled()) - base
      }
    } catch {
      // The connection is gone.
    }
  }
  const archiveOf = async (stream: TestStream): Promise<string[]> => {
    const found: string[] = []
    stream.watch = (element) => {
      const archived = element.getChild('result', MAM)?.getChild('forwarded')?.getChild('message')
      if (archived !== undefined) found.push(archived.attrs.id as string)
      return archived !== undefined
    }
    await stream.ask(`<iq type='set' id='archive'><query xmlns='${MAM}'/></iq>`)
    return found
  }

  it.each([1, 2])(
    'of the session’s process: the client is told, and nothing is lost or comes twice (seed %i)',
    async (seed) => {
      const random = randomNumbers(seed)
      const cluster = await start()
      const romeo = await login(cluster.c2sPort(OTHER), `${ROMEO}/orchard`)
      const juliet = await resumedElsewhere(cluster)
      const toRomeo = collect(romeo)
      const before = await juliet.handled()
      const [romeos, juliets] = [new Writer('r', juliet.stream.jid), new Writer('j', romeo.jid)]
      const writing = writeAndPing(romeo, romeos)
      const others = writeManaged(juliet, juliets, before)
      const enough = Math.floor((0.2 + 0.6 * random()) * EACH)
      await until(() => romeos.acknowledged >= enough && juliets.acknowledged > 0)
      await cluster.kill(OWN)
      const error = await inTime('the client is told', juliet.stream.streamError(), PATIENCE_MS)
      expect(error).toEqual({ condition: 'reset', text: 'The process that had the session is gone' })
      await juliet.stream.closed()
      await others
      // The contact goes on, and hears of what may be lost.
      await inTime('the contact has all answers', writing, PATIENCE_MS)
      await cluster.seesDead(OTHER)
      await romeo.settled()
      expect(romeos.acknowledged).toBe(EACH)

      const gone = await authenticate(cluster.c2sPort(RELAY), JULIET)
      gone.send(`<resume xmlns='${SM}' previd='${juliet.id}' h='${juliet.h}'/>`)
      expect((await gone.named('failed')).getChild('item-not-found')).toBeDefined()
      await gone.destroy()
      const next = await served(() =>
        manage(cluster.c2sPort(RELAY), `${JULIET}/next`).then(({ stream }) => stream),
      )
      await next.settled()
      const late = next.received
        .filter(({ name }) => name === 'message')
        .map(({ attrs }) => attrs.id as string)
      const archived = await archiveOf(next)
      const had = [...juliet.messages, ...late]
      expect(new Set(had).size).toBe(had.length)
      expect(new Set(archived).size).toBe(archived.length)
      expect(new Set(toRomeo.seen).size).toBe(toRomeo.seen.length)
      const known = new Set([...had, ...archived, ...toRomeo.refused])
      expect(romeos.sent.filter((id) => !known.has(id))).toEqual([])
      expect(juliets.sent.slice(0, juliets.acknowledged).filter((id) => !toRomeo.seen.includes(id))).toEqual(
        [],
      )
      await next.close()
      await romeo.close()
    },
    TEST_MS,
  )

  it.each([
    ['at once', 3],
    ['when it is known to be dead', 4],
  ])(
    'of the process that the client has come to: it resumes elsewhere %s, and nothing is lost or comes twice',
    async (when, seed) => {
      const random = randomNumbers(seed)
      const cluster = await start()
      const romeo = await login(cluster.c2sPort(OTHER), `${ROMEO}/orchard`)
      const juliet = await resumedElsewhere(cluster)
      const toRomeo = collect(romeo)
      const base = await juliet.handled()
      const [romeos, juliets] = [new Writer('r', juliet.stream.jid), new Writer('j', romeo.jid)]
      const writing = writeAndPing(romeo, romeos)
      const others = writeManaged(juliet, juliets, base)
      const enough = Math.floor((0.2 + 0.6 * random()) * EACH)
      await until(() => romeos.acknowledged >= enough && juliets.acknowledged > 0)
      await cluster.kill(RELAY)
      await juliet.stream.closed()
      await others
      if (when !== 'at once') {
        await cluster.seesDead(OWN)
        expect(cluster.log(OWN)).toMatch(/the session waits for another one/)
      }
      const back = await resume(cluster.c2sPort(OTHER), juliet)
      back.answers = true
      // What was not handled is sent again (§5).
      juliets.acknowledged = Number(back.enabled.attrs.h) - base
      const again = juliets.sent.slice(juliets.acknowledged)
      back.stream.send(again.map((id) => juliets.text(id)).join(''))
      await writeManaged(back, juliets, base)
      await inTime('the contact has all answers', writing, PATIENCE_MS)
      expect([juliets.acknowledged, romeos.acknowledged]).toEqual([EACH, EACH])
      await inTime(
        'all have come',
        until(() => juliet.messages.length + back.messages.length >= EACH && toRomeo.seen.length >= EACH),
        PATIENCE_MS,
        () => `${juliet.messages.length} and ${back.messages.length}, ${toRomeo.seen.length}`,
      )
      await back.stream.settled()
      await romeo.settled()
      expect([...juliet.messages, ...back.messages]).toEqual(romeos.sent)
      expect(toRomeo.seen).toEqual(juliets.sent)
      expect([...toRomeo.refused]).toEqual([])
      await back.stream.close()
      await romeo.close()
    },
    TEST_MS,
  )

  it(
    'XEP-0160: what a process was handing over when it was killed is for who is at another one',
    async () => {
      const cluster = await start()
      const romeo = await login(cluster.c2sPort(OTHER), `${ROMEO}/orchard`)
      const sent = Array.from({ length: 20 }, (_, i) => `m${i}`)
      for (const id of sent)
        romeo.send(`<message type='chat' id='${id}' to='${JULIET}'><body>${id}</body></message>`)
      await romeo.settled()
      const juliet = await manage(cluster.c2sPort(OWN), `${JULIET}/balcony`)
      expect(juliet.messages).toEqual(sent)
      juliet.acknowledge(juliet.stanzas.findIndex(({ attrs }) => attrs.id === sent[4]) + 1)
      await juliet.stream.settled()
      const other = await manage(cluster.c2sPort(RELAY), `${JULIET}/garden`)
      other.answers = true
      expect(other.messages).toEqual([])
      await cluster.kill(OWN)
      const rest = sent.slice(5)
      await inTime(
        'the rest comes',
        until(() => other.messages.length >= rest.length),
        PATIENCE_MS,
      )
      other.acknowledge()
      await other.stream.settled()
      expect(other.messages).toEqual(rest)
      await other.stream.close()
      const next = await login(cluster.c2sPort(OTHER), `${JULIET}/next`)
      await next.settled()
      expect(next.received.filter(({ name }) => name === 'message')).toEqual([])
      await next.close()
      await romeo.close()
    },
    TEST_MS,
  )
})
