// legate status and legate delegations, of servers that run, that do not, and that somebody writes nonsense to.

import { chmodSync, existsSync, mkdirSync, statSync, writeFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { statusSchema } from '../../server/admin/answers.ts'
import { askServer } from '../../server/cli/running-server.ts'
import { configFromObject } from '../../server/config/index.ts'
import { connectComponent, login, type TestStream } from '../shared/client.ts'
import { forwardedTo, goodReply } from '../shared/delegation.ts'
import { LegateFolder, ON_FREE_PORTS, type RunningLegate } from '../shared/legate-command.ts'
import { unprivileged } from '../shared/unprivileged.ts'

const HOSTS = `
VirtualHost "capulet.lit"
  delegations = { ["urn:x"] = { jid = "x.capulet.lit" }, ["urn:y"] = { jid = "y.capulet.lit" } }
VirtualHost "montague.lit"
Component "x.capulet.lit"
  component_secret = "secret"
  modules_enabled = { "delegation" }
Component "y.capulet.lit"
  component_secret = "secret"
  modules_enabled = { "delegation" }
`
const folders: LegateFolder[] = []

function folderWith(config: string): LegateFolder {
  const folder = new LegateFolder(config)
  folders.push(folder)
  return folder
}

function componentPort({ text }: RunningLegate): number {
  return Number(/listening for component connections.* port=(\d+)/.exec(text)?.[1])
}

afterEach(async () => {
  for (const folder of folders.splice(0)) await folder.remove()
})

describe('of a server that runs', () => {
  const folder = new LegateFolder(ON_FREE_PORTS + HOSTS)
  let server: RunningLegate
  const streams: TestStream[] = []

  beforeAll(async () => {
    await folder.run(['register', 'juliet', 'capulet.lit', 'pw'])
    server = await folder.start()
    const juliet = await login(server.c2sPort, 'juliet@capulet.lit/balcony')
    const chamber = await login(server.c2sPort, 'juliet@capulet.lit/chamber')
    const manager = await connectComponent(componentPort(server), 'x.capulet.lit', 'secret')
    streams.push(juliet, chamber, manager)
    const ask = async (id: string, answer: (text: string) => string) => {
      const asked = juliet.ask(`<iq type='get' id='${id}'><query xmlns='urn:x'/></iq>`)
      manager.send(answer(goodReply(await forwardedTo(manager))))
      return asked
    }
    await ask('1', (reply) => reply)
    // F4: an answer to somebody else.
    await ask('2', (reply) => reply.replaceAll('juliet@capulet.lit/balcony', 'romeo@capulet.lit'))
    await juliet.ask("<iq type='get' id='3'><query xmlns='urn:y'/></iq>")
    juliet.send("<iq type='get' id='4'><query xmlns='urn:x'/></iq>")
    await forwardedTo(manager)
  })

  afterAll(async () => {
    for (const stream of streams) await stream.destroy()
    await folder.remove()
  })

  it('status tells its sessions, components and addresses', async () => {
    const { code, stdout, stderr } = await folder.run(['status'])
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toMatch(new RegExp(`^Legate \\d\\S*, process ${server.child.pid}, has run for \\d+ s `))
    expect(stdout).toContain(`c2s 127.0.0.1:${server.c2sPort}`)
    expect(stdout).toMatch(/^ {2}configuration +prosody\.cfg\.lua, read 20\d\d-/m)
    expect(stdout).toContain(folder.file('data'))
    expect(stdout).toMatch(/^ {2}memory +\d+ MB, /m)
    expect(stdout).toMatch(/^HOST +ACCOUNTS ONLINE +SESSIONS +NOT YET BOUND$/m)
    expect(stdout).toMatch(/^capulet\.lit +1 +2 +0$/m)
    expect(stdout).toMatch(/^montague\.lit +0 +0 +0$/m)
    expect(stdout).toMatch(/^x\.capulet\.lit +connected for \d+ s, from 127\.0\.0\.1$/m)
    expect(stdout).toMatch(/^y\.capulet\.lit +not connected$/m)
    expect(stdout).toMatch(/warning +capulet\.lit: no certificate was found/)
  })

  it('status --json tells programs the same', async () => {
    const told = JSON.parse((await folder.run(['status', '--json'])).stdout)
    expect(told).toMatchObject({
      process: server.child.pid,
      state: 'ready',
      config: folder.file('prosody.cfg.lua'),
      hosts: [
        { name: 'capulet.lit', bound: 2, accounts: 1, authenticated: 0 },
        { name: 'montague.lit', bound: 0 },
      ],
      components: [
        { name: 'x.capulet.lit', external: true, connections: [{ address: '127.0.0.1' }] },
        { name: 'y.capulet.lit', external: true, connections: [] },
      ],
      unauthenticated: 0,
    })
    expect(Math.abs(Date.now() - told.startedAt)).toBeLessThan(60_000)
  })

  it('delegations tells every host and namespace', async () => {
    const { code, stdout, stderr } = await folder.run(['delegations'])
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    const [head, x, y] = stdout.split('\n').map((line) => line.split(/ {2,}/))
    expect(head).toEqual([
      ...['HOST', 'NAMESPACE', 'MANAGER', 'CONNECTED FOR', 'PENDING', 'FORWARDED', 'ANSWERED'],
      ...['FAILED', 'REFUSED', 'TIMED OUT', 'UNAVAILABLE', 'MEDIAN', '99 %'],
    ])
    const time = expect.stringMatching(/^\d[\d.]* m?s$/)
    const seconds = expect.stringMatching(/^\d+ s$/)
    const done = ['1', '3', '1', '0', '1', '0', '0']
    expect(x).toEqual(['capulet.lit', 'urn:x', 'x.capulet.lit', seconds, ...done, time, time])
    const none = ['0', '0', '0', '0', '0', '0', '1']
    expect(y).toEqual(['capulet.lit', 'urn:y', 'y.capulet.lit', 'not connected', ...none, '-', '-'])
    expect(stdout).toMatch(
      /Refused, by the rule that the answer broke:\n {2}capulet\.lit {2}urn:x: 1 F4\S*\n$/,
    )
  })

  it('delegations HOST tells those of the host, and which there are if it is none', async () => {
    const told = JSON.parse((await folder.run(['delegations', 'CAPULET.lit', '--json'])).stdout)
    expect(told.map(({ namespace }: { namespace: string }) => namespace)).toEqual(['urn:x', 'urn:y'])
    expect(told[0]).toMatchObject({ pending: 1, answered: 1, connections: 1 })
    expect(await folder.run(['delegations', 'montague.lit'])).toMatchObject({
      code: 0,
      stdout: 'Nothing is delegated by montague.lit: see the option delegations.\n',
    })
    expect(await folder.run(['delegations', 'verona.lit'])).toMatchObject({
      code: 1,
      stdout: '',
      stderr: 'legate: the server has no host "verona.lit"; those that it has: capulet.lit, montague.lit\n',
    })
  })

  it('the socket is its owner’s alone', () => {
    expect(statSync(folder.file('data/legate.sock')).mode & 0o777).toBe(0o600)
  })

  it('a second server with the same data folder does not start, and the first goes on', async () => {
    expect(await folder.run(['start'])).toMatchObject({
      code: 1,
      stdout: '',
      stderr:
        `legate: a server runs already with the data folder ${folder.file('data')}, as process ${server.child.pid}; ` +
        'end that one first, or give this one another data_path\n',
    })
    expect(await folder.run(['status'])).toMatchObject({ code: 0 })
  })

  describe('somebody who writes nonsense to its socket', () => {
    const closed = (socket: Socket) =>
      new Promise<void>((resolve) => {
        socket.on('error', () => {})
        socket.resume()
        socket.once('close', () => resolve())
      })
    const open = () => connect(folder.file('data/legate.sock'))

    it.each([
      ['garbage', Buffer.from([0, 255, 10, 13, 0])],
      ['10 MB without a line end', Buffer.alloc(10_000_000, 'a')],
      ['10 MB of lines', Buffer.alloc(10_000_000, '{"legate":1,"command":"status"}\n')],
    ])('%s: is disconnected, and the server goes on', async (_, bytes) => {
      const socket = open()
      socket.write(bytes)
      await closed(socket)
      expect(await folder.run(['status'])).toMatchObject({ code: 0, stderr: '' })
      await streams[0]!.settled()
    })

    it('hundreds of connections that say nothing, or half of something, keep nobody away', async () => {
      const sockets = Array.from({ length: 400 }, open)
      const ends = sockets.map(closed)
      for (const [index, socket] of sockets.entries()) if (index % 2 === 0) socket.write('{"legate":')
      expect(await folder.run(['status'])).toMatchObject({ code: 0, stderr: '' })
      await streams[0]!.settled()
      for (const socket of sockets) socket.destroy()
      await Promise.all(ends)
      expect(server.text).not.toMatch(/ error .*(command|plugin)/)
    })
  })
})

describe('where there is nobody to ask', () => {
  const config = ON_FREE_PORTS + HOSTS

  it.each(['status', 'delegations', 'reload'])(
    '%s says that no server runs, with exit code 1',
    async (word) => {
      const folder = folderWith(config)
      expect(await folder.run([word])).toMatchObject({
        code: 1,
        stdout: '',
        stderr: expect.stringMatching(/^legate: no server runs with the data folder .*legate start\n$/),
      })
      expect(existsSync(folder.file('data'))).toBe(false)
    },
  )

  it('the socket of a server that was killed is none, and is replaced at the next start', async () => {
    const folder = folderWith(config)
    const first = await folder.start()
    first.child.kill('SIGKILL')
    await first.outcome
    expect(existsSync(folder.file('data/legate.sock'))).toBe(true)
    expect(await folder.run(['status'])).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/no server runs/),
    })
    const second = await folder.start()
    expect(await folder.run(['status'])).toMatchObject({ code: 0 })
    expect(await second.stop()).toMatchObject({ code: 0 })
    expect(existsSync(folder.file('data/legate.sock'))).toBe(false)
  })

  it('something else in the place of the socket is told at the start, and left alone', async () => {
    const folder = folderWith(config)
    mkdirSync(folder.file('data'))
    writeFileSync(folder.file('data/legate.sock'), 'precious')
    const server = await folder.start()
    expect(server.text).toMatch(
      /warn .*"legate status" will not reach this server .*is no socket: move it away/,
    )
    expect(await server.stop()).toMatchObject({ code: 0 })
    expect(statSync(folder.file('data/legate.sock')).size).toBe(8)
  })

  it.runIf(process.geteuid?.() === 0)('another user is told whose the server is', async () => {
    const folder = folderWith(config)
    chmodSync(folder.path, 0o755)
    const server = await folder.start()
    // The configuration may be read by all, the data folder not.
    const other = configFromObject({ data_path: folder.file('data'), virtualHosts: { 'capulet.lit': {} } })
    mkdirSync(folder.file('empty'))
    await unprivileged(folder.file('empty'), () =>
      expect(askServer(other, { command: 'status' }, statusSchema)).rejects.toThrow(
        /is another user's: use this command as the owner of that folder, or as root/,
      ),
    )
    await server.stop()
  })
})

describe('a plugin’s figures', () => {
  const metrics = (provider: string): string =>
    `module.exports = { name: "figures", load(module) { module.server.sharedTable("metrics", () => new Map())
      .set("delegation", ${provider}) } }`
  const config = `${ON_FREE_PORTS}plugin_paths = { "." }
VirtualHost "capulet.lit"
modules_enabled = { "figures" }
`
  const figures = `{ host: "capulet.lit", namespace: "urn:\\u001b[2J", manager: "x.capulet.lit", connections: 2,
    connectedSince: 1700000000, pending: 0, forwarded: 9, answered: 0, failed: 1, refused: { "F4-id": 2, "F4-from": 3 },
    timedOut: 3, unavailable: 4, replyMs: { median: 0.313, p99: 1234.5 } }`

  it('are shown with units, and without what would control the terminal', async () => {
    const folder = folderWith(config)
    folder.write('figures.js', metrics(`() => [${figures}]`))
    const server = await folder.start()
    const { stdout } = await folder.run(['delegations'])
    expect(stdout).not.toContain('\u001b')
    expect(stdout).toMatch(/ {2}\d+ d( \d+ h)? \(2 connections\) {2}.* 5 .* 3 +4 {2}0\.313 ms {2}1\.23 s$/m)
    expect(stdout).toMatch(/2 F4-id, 3 F4-from$/m)
    await server.stop()
  })

  it.each([
    ['throws', '() => { throw new Error("no figures") }'],
    ['gives something else', '() => [{ host: 5 }]'],
  ])('that %s is an error in the log, and the server goes on', async (_, provider) => {
    const folder = folderWith(config)
    folder.write('figures.js', metrics(provider))
    const server = await folder.start()
    const { code, stderr } = await folder.run(['delegations'])
    expect({ code, stderr }).toEqual({
      code: 1,
      stderr: 'legate: the command failed in the server; its log says why\n',
    })
    await server.logged(/a command to the server failed/)
    expect(await folder.run(['status'])).toMatchObject({ code: 0 })
    await server.stop()
  })
})
