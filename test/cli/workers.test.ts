// legate start --workers: several processes that share the ports of a machine, over Redis.

import { createServer } from 'node:net'
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import type { ServerStatus } from '../../server/admin/answers.ts'
import { connectComponent, login, type TestStream } from '../shared/client.ts'
import { forwardedTo, goodReply } from '../shared/delegation.ts'
import { LegateFolder, ON_FREE_PORTS, RunningLegate } from '../shared/legate-command.ts'
import { redisAvailable, type SingleRedis, startRedis } from '../shared/peers/redis.ts'
import { describePeer } from '../shared/require.ts'

// A server is three processes here, and a command one more.
vi.setConfig({ testTimeout: 60_000 })

const HOST = 'VirtualHost "localhost"\n'
const folders: LegateFolder[] = []
const streams: TestStream[] = []
let peer: SingleRedis | undefined

/** Options of a cluster with a prefix of its own, as Lua. */
function clustered(prefix: string): string {
  return `${ON_FREE_PORTS}cluster = {}\nredis = { url = "${peer!.redis.url}", prefix = "${prefix}" }\n`
}

async function folderWith(config: string, ...accounts: string[]): Promise<LegateFolder> {
  const folder = new LegateFolder(config)
  folders.push(folder)
  for (const account of accounts) {
    expect(await folder.run(['register', account, 'localhost', 'pw'])).toMatchObject({ code: 0 })
  }
  return folder
}

async function enter(server: RunningLegate, jid: string): Promise<TestStream> {
  const stream = await login(server.c2sPort, jid)
  streams.push(stream)
  return stream
}

async function statusOf(folder: LegateFolder): Promise<ServerStatus> {
  const { stdout, stderr } = await folder.run(['status', '--json'])
  expect(stderr).toBe('')
  return JSON.parse(stdout) as ServerStatus
}

function members({ cluster }: ServerStatus) {
  return cluster!.members.map(({ name, figures }) => ({ name: name.replace(/^.*\//, ''), figures }))
}

function pidOf(status: ServerStatus, worker: number): number {
  return status.supervisor!.workers.find(({ number }) => number === worker)!.process!
}

const message = (to: string, id: string) =>
  `<message type='chat' to='${to}' id='${id}'><body>${id}</body></message>`

beforeAll(async () => {
  if (redisAvailable() === undefined) peer = await startRedis()
})

afterEach(async () => {
  for (const stream of streams.splice(0)) await stream.destroy()
  for (const folder of folders.splice(0)) await folder.remove()
})

afterAll(async () => {
  await peer?.stop()
})

describePeer('legate start --workers', redisAvailable(), () => {
  it('two workers share a port, are one server, and end one after another', async () => {
    const folder = await folderWith(clustered('share') + HOST, 'juliet', 'romeo')
    const server = await folder.start(['--workers', '2'])
    expect(await server.logged(/ ready /)).toContain(`process=${server.child.pid} workers=2`)
    // Connections go to one after the other.
    const juliet = await enter(server, 'juliet@localhost/balcony')
    const romeo = await enter(server, 'romeo@localhost/orchard')
    juliet.send(message(romeo.jid, 'there'))
    await romeo.withId('there')
    romeo.send(message(juliet.jid, 'back'))
    await juliet.withId('back')

    const told = await statusOf(folder)
    const figures = members(told)
    expect(figures.map(({ name }) => name)).toEqual(['worker 1', 'worker 2'])
    expect(figures.map((member) => member.figures?.status.hosts[0]?.bound)).toEqual([1, 1])
    expect(figures.map((member) => member.figures?.status.process)).toEqual([pidOf(told, 1), pidOf(told, 2)])
    expect(figures[0]!.figures?.redis.connected).toBe(true)
    expect(told.cluster?.hosts).toEqual([{ name: 'localhost', bound: 2, authenticated: 0, accounts: 2 }])
    expect(told.supervisor).toMatchObject({ process: server.child.pid, state: 'ready' })

    server.child.kill('SIGTERM')
    const ends = [juliet, romeo].map(async (stream) => {
      expect(await stream.streamError()).toMatchObject({ condition: 'system-shutdown' })
      await stream.close()
    })
    await Promise.all(ends)
    expect(await server.outcome).toMatchObject({ code: 0, signal: null, stderr: '' })
    const order = server.text
      .split('\n')
      .flatMap((line) => /(stopping|stopped)(?: worker=\d)?/.exec(line)?.[0] ?? [])
    expect(order).toEqual([
      'stopping',
      ...['stopping worker=1', 'stopped worker=1', 'stopping worker=2', 'stopped worker=2'],
      'stopped',
    ])
  })

  it('while one drains, the others serve', async () => {
    const folder = await folderWith(clustered('drain') + HOST, 'juliet')
    const server = await folder.start(['--workers', '2'])
    const opened = [await enter(server, 'juliet@localhost/one'), await enter(server, 'juliet@localhost/two')]
    const ends = opened.map((stream) => stream.streamError().then(() => stream))
    server.child.kill('SIGTERM')
    // Which of them is worker 1's nobody has said. It does not end its stream yet, so it is waited for.
    const first = await Promise.race(ends)
    const other = opened.find((stream) => stream !== first)!
    other.send(message(other.jid, 'still'))
    await other.withId('still')
    await first.close()
    await Promise.all(ends)
    await other.close()
    expect(await server.outcome).toMatchObject({ code: 0, signal: null })
  })

  it('a worker that is killed is started again, and its clients can log in again', async () => {
    const folder = await folderWith(`${clustered('killed')}cluster_lease = 1\n${HOST}`, 'juliet', 'romeo')
    const server = await folder.start(['--workers', '2'])
    const streams = [
      await enter(server, 'juliet@localhost/here'),
      await enter(server, 'romeo@localhost/here'),
    ]
    const before = await statusOf(folder)
    process.kill(pidOf(before, 2), 'SIGKILL')
    const line = await server.logged(/a worker has died; it is started again worker=2 /)
    expect(line).toContain(`process=${pidOf(before, 2)} signal=SIGKILL`)
    expect(line).toContain('seconds=0.1')
    const lost = await Promise.race(streams.map((stream) => stream.closed().then(() => stream)))
    await server.logged(/a worker has started worker=2/, server.text.indexOf(line))
    const kept = streams.find((stream) => stream !== lost)!
    const back = await enter(server, lost.jid)
    expect(back.jid).toBe(lost.jid)
    back.send(message(kept.jid, 'again'))
    await kept.withId('again')
    const after = await statusOf(folder)
    expect(after.supervisor!.workers).toMatchObject([
      { number: 1, process: pidOf(before, 1), deaths: 0 },
      { number: 2, state: 'ready', deaths: 1 },
    ])
    expect(pidOf(after, 2)).not.toBe(pidOf(before, 2))
  })

  it('one that can not start again is tried with a growing pause', async () => {
    const folder = await folderWith(clustered('pause') + HOST)
    const server = await folder.start(['--workers', '2'])
    const before = await statusOf(folder)
    folder.configure('this is no Lua')
    process.kill(pidOf(before, 1), 'SIGKILL')
    await server.logged(/a worker has died; .* worker=1 .* signal=SIGKILL seconds=0.1$/)
    await server.logged(/a worker has died; .* worker=1 .* reason=".*syntax error.*" seconds=0.2$/)
    await server.logged(/a worker has died; .* worker=1 .* seconds=0.4$/)
    folder.configure(clustered('pause') + HOST)
    await server.logged(/a worker has started worker=1 /, server.text.indexOf('has died'))
    expect(await server.stop()).toMatchObject({ code: 0 })
  })

  it('SIGTERM while it starts is an end as well', async () => {
    const folder = await folderWith(clustered('early') + HOST)
    const server = new RunningLegate(folder.spawn(['start', '--workers', '3']))
    await server.logged(/./)
    expect(await server.stop()).toMatchObject({ code: 0, signal: null, stderr: '' })
    const second = new RunningLegate(folder.spawn(['start', '--workers', '3']))
    await second.logged(/a worker has started worker=1 /)
    expect(await second.stop()).toMatchObject({ code: 0, signal: null, stderr: '' })
  })

  it('when the supervisor is killed, the workers end in order', async () => {
    const folder = await folderWith(clustered('orphans') + HOST, 'juliet')
    const server = await folder.start(['--workers', '2'])
    const juliet = await enter(server, 'juliet@localhost/balcony')
    server.child.kill('SIGKILL')
    expect(await juliet.streamError()).toMatchObject({ condition: 'system-shutdown' })
    await juliet.close()
    // Its standard output is closed when all have ended.
    await server.outcome
    expect(server.text).toMatch(/stopping worker=1 reason="the supervisor is gone"/)
    expect(server.text.match(/ stopped worker=/g)).toHaveLength(2)
  })

  it('signals of the terminal’s whole group leave the workers to the supervisor; a second one ends all', async () => {
    const folder = await folderWith(clustered('signals') + HOST, 'juliet')
    const server = await folder.start(['--workers', '2'])
    const told = await statusOf(folder)
    const juliet = await enter(server, 'juliet@localhost/balcony')
    for (const worker of [1, 2]) {
      for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.kill(pidOf(told, worker), signal)
    }
    await juliet.settled()
    expect(members(await statusOf(folder)).map(({ figures }) => figures?.status.state)).toEqual([
      'ready',
      'ready',
    ])
    // She does not end her stream, so it is waited for her.
    await server.signal('SIGINT', / stopping worker=/)
    await juliet.streamError()
    await server.signal('SIGINT', / ending at once /)
    expect(await server.outcome).toMatchObject({ code: 1 })
    await juliet.closed()
  })

  describe('what keeps it from starting', () => {
    it('a port that is taken ends all with its message', async () => {
      const taken = createServer()
      await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve))
      const { port } = taken.address() as { port: number }
      const folder = await folderWith(`${clustered('taken')}c2s_ports = { ${port} }\n${HOST}`)
      const { code, stderr, stdout } = await folder.run(['start', '--workers', '2'])
      expect({ code, stderr }).toEqual({
        code: 1,
        stderr: `legate: c2s: port ${port} on 127.0.0.1 is in use by another program; stop that, or set other ports in the configuration\n`,
      })
      expect(stdout).not.toMatch(/worker=2|has died/)
      await new Promise((resolve) => taken.close(resolve))
    })

    it('a Redis that is away', async () => {
      const config = `${ON_FREE_PORTS}cluster = {}\nredis = { url = "redis://127.0.0.1:1" }\n${HOST}`
      const folder = await folderWith(config)
      expect(await folder.run(['start', '--workers', '2'])).toMatchObject({
        code: 1,
        stderr: expect.stringMatching(/^legate: .*Redis/),
      })
    })
  })

  it('reload reaches every worker, and tells once what all say', async () => {
    const folder = await folderWith(clustered('reload') + HOST, 'juliet')
    const server = await folder.start(['--workers', '2'])
    folder.configure(`${clustered('reload')}c2s_ports = { 5222 }\n${HOST}VirtualHost "new.example"\n`)
    const { code, stdout, stderr } = await folder.run(['reload'])
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toMatch(/^Changed, but only read at the next start: c2s_ports$/m)
    expect(stdout.match(/new\.example: no certificate was found/g)).toHaveLength(1)
    expect(stdout).toMatch(/are served: 2\.\n$/)
    const told = await statusOf(folder)
    expect(members(told).map(({ figures }) => figures?.status.hosts.length)).toEqual([2, 2])
    folder.configure(`${clustered('reload')}c2s_timeout = "soon"\n${HOST}`)
    await server.signal('SIGHUP', /goes on with the old one/)
    folder.configure(`${ON_FREE_PORTS}${HOST}`)
    expect(await folder.run(['reload'])).toMatchObject({ code: 1 })
  })

  it('deluser and passwd end the sessions at every worker', async () => {
    const folder = await folderWith(clustered('deluser') + HOST, 'juliet', 'romeo')
    const server = await folder.start(['--workers', '2'])
    const ends = (streams: TestStream[]) =>
      Promise.all(
        streams.map(async (stream) => {
          expect(await stream.streamError()).toMatchObject({ condition: 'not-authorized' })
          await stream.close()
        }),
      )
    const romeos = [await enter(server, 'romeo@localhost/one'), await enter(server, 'romeo@localhost/two')]
    const [changed] = await Promise.all([
      folder.run(['passwd', 'romeo@localhost', '--disconnect'], 'other\n'),
      ends(romeos),
    ])
    expect(changed.stdout).toMatch(/2 sessions of it ended\.\n$/)
    const juliets = [await enter(server, 'juliet@localhost/one'), await enter(server, 'juliet@localhost/two')]
    const [deleted] = await Promise.all([folder.run(['deluser', 'juliet@localhost']), ends(juliets)])
    expect(deleted.stdout).toMatch(/2 sessions of it ended\.\n$/)
  })

  it('another process of the cluster is seen, and is told of a reload', async () => {
    const component = 'Component "x.localhost"\n  component_secret = "secret"\n'
    const folder = await folderWith(clustered('two') + HOST + component, 'juliet')
    const other = await folderWith(
      clustered('two').replace('cluster = {}', 'cluster = { name = "elsewhere" }') + HOST + component,
    )
    const server = await folder.start(['--workers', '2'])
    const alone = await other.start()
    const told = await statusOf(other)
    expect(members(told).map(({ name }) => name)).toEqual(['elsewhere', 'worker 1', 'worker 2'])
    expect(told.supervisor).toBeUndefined()
    const port = Number(/listening for component connections.* port=(\d+)/.exec(server.text)?.[1])
    streams.push(await connectComponent(port, 'x.localhost', 'secret'))
    for (const asked of [folder, other]) {
      const { stdout } = await asked.run(['status'])
      expect(stdout).toMatch(/^Legate \S+, 3 processes; asked was /)
      expect(stdout).toMatch(/^elsewhere +\d+ +\S+ +\S+ +\d+ s +ready +0 +0 +\d+ MB +\d+ % +\d+ %$/m)
      expect(stdout).toMatch(/^elsewhere +connected +- +\d+ +0 +0 B$/m)
      expect(stdout).toMatch(/^all +0 +1 +\d+ MB$/m)
      expect(stdout).toMatch(/^x\.localhost +connected for \d+ s, from 127\.0\.0\.1$/m)
    }
    const from = alone.text.length
    const { stdout } = await folder.run(['reload'])
    expect(stdout).toMatch(/Other processes were told to read their own, .*: elsewhere\.$/m)
    await alone.logged(/ configuration reloaded /, from)
    const later = server.text.length
    await other.run(['reload'])
    await server.logged(/ configuration reloaded hosts=\d+$/, later)
  })

  it('a worker that hangs is shown as one that does not answer', async () => {
    const folder = await folderWith(`${clustered('hangs')}cluster_lease = 60\n${HOST}`)
    await folder.start(['--workers', '2'])
    const before = await statusOf(folder)
    process.kill(pidOf(before, 1), 'SIGSTOP')
    const { stdout } = await folder.run(['status'])
    process.kill(pidOf(before, 1), 'SIGCONT')
    expect(stdout).toMatch(/^\S+\/worker 1 +\d+ +- .* no answer +0 +0 +- +- +-$/m)
    expect(stdout).toMatch(/^\S+\/worker 2 .* ready /m)
  })

  it('without Redis it tells what it knows', async () => {
    const folder = await folderWith(`${clustered('away')}cluster_lease = 60\n${HOST}`)
    const server = await folder.start(['--workers', '2'])
    peer!.redis.pause()
    try {
      await server.logged(/Redis is away.* worker=1 /)
      const { stdout, stderr } = await folder.run(['status'])
      expect(stderr).toBe('')
      expect(stdout).toMatch(/^\S+\/worker 1 .* ready /m)
      expect(stdout).toMatch(/^\S+\/worker 2 .* no answer /m)
      expect(stdout).toMatch(/^\S+\/worker 1 +away for \d+ s +- /m)
    } finally {
      peer!.redis.goOn()
    }
    await server.logged(/Redis is back.* worker=1 /)
    expect(members(await statusOf(folder)).every(({ figures }) => figures?.redis.connected)).toBe(true)
    expect(await server.stop()).toMatchObject({ code: 0 })
  })

  it('delegations have the numbers of all processes', async () => {
    const delegating = `${HOST}  delegations = { ["urn:x"] = { jid = "x.localhost" } }
Component "x.localhost"
  component_secret = "secret"
  modules_enabled = { "delegation" }
`
    const folder = await folderWith(clustered('numbers') + delegating, 'juliet')
    const server = await folder.start(['--workers', '2'])
    const port = Number(/listening for component connections.* port=(\d+)/.exec(server.text)?.[1])
    const manager = await connectComponent(port, 'x.localhost', 'secret')
    streams.push(manager)
    for (const resource of ['one', 'two']) {
      const juliet = await enter(server, `juliet@localhost/${resource}`)
      const asked = juliet.ask(`<iq type='get' id='${resource}'><query xmlns='urn:x'/></iq>`)
      manager.send(goodReply(await forwardedTo(manager)))
      expect((await asked).attrs.type).toBe('result')
    }
    const { stdout } = await folder.run(['delegations', '--json'])
    expect(JSON.parse(stdout)).toMatchObject([
      { namespace: 'urn:x', connections: 1, pending: 0, forwarded: 2, answered: 2 },
    ])
    expect(stdout).not.toContain('replyTimes')
    expect((await folder.run(['status'])).stdout).toMatch(/^localhost +urn:x +x\.localhost +\d+ s +0 +2 +2 /m)
  })

  it('JSON lines of the log tell the worker', async () => {
    const folder = await folderWith(`${clustered('json')}log_format = "json"\n${HOST}`)
    const server = new RunningLegate(folder.spawn(['start', '--workers', '2']))
    await server.logged(/"msg":"ready"/)
    const records = server.text.split('\n', 20).map((line) => JSON.parse(line))
    const listening = records.find(({ msg }) => /^listening for c2s/.test(msg))
    expect(listening).toMatchObject({ worker: 1, name: 'net' })
    expect(listening.pid).not.toBe(server.child.pid)
    expect(await server.stop()).toMatchObject({ code: 0 })
  })
})

describe('mistakes with --workers', () => {
  it.each(['1', '65', 'two', '2.5', '-2'])('--workers %s is refused', async (number) => {
    const folder = await folderWith(ON_FREE_PORTS + HOST)
    const { code, stderr } = await folder.run(['start', '--workers', number])
    expect(code).toBe(2)
    expect(stderr).toContain('It must be a number from 2 to 64; without it there is one process.')
  })

  it('a configuration without cluster is none for workers', async () => {
    const folder = await folderWith(ON_FREE_PORTS + HOST)
    expect(await folder.run(['start', '--workers', '2'])).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(
        /^legate: --workers 2: .* only by the option cluster, .*without --workers\n$/,
      ),
    })
  })

  it('one without a Redis says so', async () => {
    const folder = await folderWith(`${ON_FREE_PORTS}cluster = {}\n${HOST}`)
    expect(await folder.run(['start', '--workers', '2'])).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/the cluster needs to know where Redis is/),
    })
  })

  it('what is kept in memory is each process’s own', async () => {
    const config = `${ON_FREE_PORTS}cluster = {}\nredis = { url = "redis://127.0.0.1:1" }\nstorage = "memory"\n${HOST}`
    const folder = await folderWith(config)
    expect(await folder.run(['start', '--workers', '2'])).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^legate: --workers 2: localhost keeps something in memory/),
    })
  })

  it('--worker is not for people', async () => {
    const folder = await folderWith(ON_FREE_PORTS + HOST)
    expect(await folder.run(['start', '--worker', '1'])).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/use legate start --workers NUMBER/),
    })
  })
})
