// legate start: readiness, signals, reloads, crashes, and what keeps it from starting.

import { existsSync, readFileSync, renameSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { login, TestStream } from '../shared/client.ts'
import { LegateFolder, ON_FREE_PORTS, RunningLegate } from '../shared/legate-command.ts'

const HOST = 'VirtualHost "localhost"\n'
const folders: LegateFolder[] = []

function folderWith(config?: string): LegateFolder {
  const folder = new LegateFolder(config)
  folders.push(folder)
  return folder
}

async function withUser(config: string): Promise<LegateFolder> {
  const folder = folderWith(config)
  expect(await folder.run(['register', 'juliet', 'localhost', 'pw'])).toMatchObject({ code: 0 })
  return folder
}

afterEach(async () => {
  for (const folder of folders.splice(0)) await folder.remove()
})

describe('signals', () => {
  it.each(['SIGTERM', 'SIGINT'] as const)(
    '%s ends the streams with system-shutdown and exits 0',
    async (signal) => {
      const folder = await withUser(ON_FREE_PORTS + HOST)
      const server = await folder.start()
      const client = await login(server.c2sPort, 'juliet@localhost/balcony')
      server.child.kill(signal)
      expect(await client.streamError()).toMatchObject({ condition: 'system-shutdown' })
      await client.close()
      expect(await server.outcome).toMatchObject({ code: 0, signal: null, stderr: '' })
      expect(server.text).toMatch(/ stopped\n$/)
    },
  )

  it('a second signal ends the server at once, with 1', async () => {
    const folder = folderWith(ON_FREE_PORTS + HOST)
    const server = await folder.start()
    // A client that does not end its half of the connection, so the server would wait for it.
    const socket = connect({ port: server.c2sPort, host: '127.0.0.1', allowHalfOpen: true })
    const client = new TestStream(socket)
    await client.open("to='localhost' version='1.0'")
    await server.signal('SIGTERM', / stopping /)
    await server.signal('SIGINT', / ending at once /)
    expect(await server.outcome).toMatchObject({ code: 1 })
    await client.destroy()
  })

  it('SIGTERM while it starts is an end as well, and SIGHUP is none', async () => {
    const folder = folderWith(ON_FREE_PORTS + HOST)
    const starting = new RunningLegate(folder.spawn(['start']))
    await starting.logged(/./)
    expect(await starting.stop()).toMatchObject({ code: 0, signal: null, stderr: '' })
    const server = new RunningLegate(folder.spawn(['start']))
    await server.logged(/./)
    server.child.kill('SIGHUP')
    await server.logged(/ configuration reloaded /)
    expect(server.text).toMatch(/ ready /)
    expect(await server.stop()).toMatchObject({ code: 0 })
  })

  it('goes on when nobody reads its output any more', async () => {
    const folder = await withUser(ON_FREE_PORTS + HOST)
    const server = await folder.start()
    server.child.stdout.destroy()
    for (const resource of ['one', 'two']) {
      const client = await login(server.c2sPort, `juliet@localhost/${resource}`)
      await client.settled()
      await client.close()
    }
    expect(await server.stop()).toMatchObject({ code: 0, signal: null })
  })
})

describe('SIGHUP', () => {
  it('adds and removes hosts, and leaves the sessions of the others', async () => {
    const folder = await withUser(`${ON_FREE_PORTS}${HOST}VirtualHost "old.example"\n`)
    await folder.run(['register', 'nurse', 'old.example', 'pw'])
    const server = await folder.start()
    const juliet = await login(server.c2sPort, 'juliet@localhost/balcony')
    const nurse = await login(server.c2sPort, 'nurse@old.example/kitchen')
    folder.configure(`${ON_FREE_PORTS}${HOST}VirtualHost "new.example"\n`)
    await server.signal('SIGHUP', / configuration reloaded /)
    expect(await nurse.streamError()).toMatchObject({ condition: 'host-gone' })
    await nurse.close()
    await folder.run(['register', 'romeo', 'new.example', 'pw'])
    const romeo = await login(server.c2sPort, 'romeo@new.example/orchard')
    await juliet.settled()
    await romeo.close()
    await juliet.close()
    expect(await server.stop()).toMatchObject({ code: 0 })
  })

  it('keeps the old configuration and tells every mistake when the new one has some', async () => {
    const folder = await withUser(ON_FREE_PORTS + HOST)
    const server = await folder.start()
    folder.configure(`${ON_FREE_PORTS}c2s_timeout = "soon"\nmax_resources = {}\nVirtualHost "new.example"\n`)
    const from = server.text.length
    await server.signal('SIGHUP', /goes on with the old one/)
    const told = server.text.slice(from)
    expect(told).toMatch(/prosody\.cfg\.lua:\d+: c2s_timeout must be/)
    expect(told).toMatch(/prosody\.cfg\.lua:\d+: max_resources must be/)
    folder.configure('this is no Lua')
    await server.signal('SIGHUP', /goes on with the old one/)
    expect(server.text).toMatch(/prosody\.cfg\.lua:1: .*syntax error/)
    const client = await login(server.c2sPort, 'juliet@localhost/balcony')
    await client.close()
    folder.configure(ON_FREE_PORTS + HOST)
    await server.signal('SIGHUP', / configuration reloaded /)
    expect(await server.stop()).toMatchObject({ code: 0 })
  })

  it('says which changed options wait for the next start', async () => {
    const folder = folderWith(ON_FREE_PORTS + HOST)
    const server = await folder.start()
    folder.configure(`${ON_FREE_PORTS}c2s_ports = { 5222 }\n${HOST}`)
    expect(await server.signal('SIGHUP', /only read at the next start/)).toMatch(/: c2s_ports$/)
    await server.stop()
  })

  it('reopens log files, for logrotate', async () => {
    const log = 'log = { info = "legate.log"; { levels = { min = "info" }, to = "console" } }\n'
    const folder = folderWith(ON_FREE_PORTS + log + HOST)
    const server = await folder.start()
    renameSync(folder.file('legate.log'), folder.file('legate.log.1'))
    await server.signal('SIGHUP', / configuration reloaded /)
    expect(readFileSync(folder.file('legate.log'), 'utf8')).toMatch(/ configuration reloaded /)
    expect(readFileSync(folder.file('legate.log.1'), 'utf8')).not.toMatch(/ configuration reloaded /)
    await server.stop()
  })
})

describe('a failure that nobody took care of', () => {
  it.each([
    ['is thrown', 'setImmediate(() => { throw new Error("the plugin is broken") })'],
    ['is a rejection', 'void Promise.reject(new Error("the plugin is broken"))'],
  ])('%s: is logged with its stack, ends the streams, and exits 1', async (_, statement) => {
    const config = `${ON_FREE_PORTS}plugin_paths = { "." }\n${HOST}modules_enabled = { "crash" }\n`
    const folder = await withUser(config)
    folder.write(
      'crash.js',
      `module.exports = { name: "crash", load(module) { module.hook("message/host", () => { ${statement}; return true }) } }`,
    )
    const server = await folder.start()
    const client = await login(server.c2sPort, 'juliet@localhost/balcony')
    client.send("<message to='localhost'><body>go</body></message>")
    expect(await client.streamError()).toMatchObject({ condition: 'system-shutdown' })
    await client.close()
    expect(await server.outcome).toMatchObject({ code: 1, signal: null })
    expect(server.text).toMatch(/the plugin is broken[\s\S]*at .*crash\.js/)
  })
})

describe('what keeps the server from starting', () => {
  it('a port in use: says which, and exits 1', async () => {
    const holder = createServer()
    await new Promise<void>((resolve) => holder.listen(0, '127.0.0.1', resolve))
    const { port } = holder.address() as { port: number }
    const folder = folderWith(`${ON_FREE_PORTS}c2s_ports = { ${port} }\n${HOST}`)
    const { code, stderr } = await folder.run(['start'])
    holder.close()
    expect(code).toBe(1)
    expect(stderr).toBe(
      `legate: c2s: port ${port} on 127.0.0.1 is in use by another program; stop that, or set other ports in the configuration\n`,
    )
  })

  it('options of the wrong kind: all are listed, nothing is made', async () => {
    const folder = folderWith(
      `${ON_FREE_PORTS}c2s_ports = { "x" }\nstorage = "sql"\n${HOST}max_resources = 0\n`,
    )
    const { code, stderr } = await folder.run(['start'])
    expect(code).toBe(1)
    expect(stderr).toMatch(/the configuration has mistakes/)
    expect(stderr).toMatch(/error {4}prosody\.cfg\.lua:\d+: c2s_ports/)
    expect(stderr).toMatch(/error {4}prosody\.cfg\.lua:\d+: storage/)
    expect(stderr).toMatch(/error {4}prosody\.cfg\.lua:\d+: host localhost: max_resources/)
    expect(existsSync(folder.file('data'))).toBe(false)
  })

  it('no configuration: names the places and how to begin', async () => {
    const folder = folderWith()
    const { code, stderr } = await folder.run(['start'])
    expect(code).toBe(1)
    expect(stderr).toContain(folder.file('prosody.cfg.lua'))
    expect(stderr).toContain('/etc/legate/prosody.cfg.lua')
    expect(stderr).toContain('VirtualHost "localhost"')
    const named = await folder.run(['start', '--config', 'nowhere.lua'])
    expect(named).toMatchObject({ code: 1, stderr: expect.stringContaining(folder.file('nowhere.lua')) })
  })

  it('a configuration that is a loop without end', async () => {
    const folder = folderWith('while true do end\n')
    const { code, stderr } = await folder.run(['start'])
    expect(code).toBe(1)
    expect(stderr).toMatch(/prosody\.cfg\.lua.*loop without end/)
  }, 30_000)

  it('a mistake in a delegation is told and the server starts (C1)', async () => {
    const folder = folderWith(
      `${ON_FREE_PORTS}${HOST}delegations = { ["urn:x"] = { filtering = { "a" } } }\n`,
    )
    const server = await folder.start()
    expect(server.text).toMatch(/error .*delegations\["urn:x"\] of localhost: jid is missing/)
    expect(await server.stop()).toMatchObject({ code: 0 })
  })
})

describe('pidfile', () => {
  const config = `${ON_FREE_PORTS}pidfile = "legate.pid"\n${HOST}`

  it('has the process id while the server runs, and a second server refuses it', async () => {
    const folder = folderWith(config)
    const server = await folder.start()
    expect(readFileSync(folder.file('data/legate.pid'), 'utf8')).toBe(`${server.child.pid}\n`)
    const second = await folder.run(['start'])
    expect(second).toMatchObject({ code: 1, stderr: expect.stringContaining(`process ${server.child.pid} `) })
    expect(await server.stop()).toMatchObject({ code: 0 })
    expect(existsSync(folder.file('data/legate.pid'))).toBe(false)
  })

  it('a stale one is overwritten: of a process that is gone, or that is another program', async () => {
    const folder = folderWith(config)
    const first = await folder.start()
    first.child.kill('SIGKILL')
    await first.outcome
    expect(existsSync(folder.file('data/legate.pid'))).toBe(true)
    await (await folder.start()).stop()
    folder.write('data/legate.pid', `${process.pid}\n`)
    const again = await folder.start()
    expect(readFileSync(folder.file('data/legate.pid'), 'utf8')).toBe(`${again.child.pid}\n`)
    await again.stop()
  })

  it('that can not be written is told, with exit code 1', async () => {
    const folder = folderWith(`${ON_FREE_PORTS}pidfile = "no/such/folder/legate.pid"\n${HOST}`)
    const { code, stderr } = await folder.run(['start'])
    expect(code).toBe(1)
    expect(stderr).toContain(folder.file('data/no/such/folder/legate.pid'))
  })
})

it('the example that npm start runs is one that legate check finds no error in', async () => {
  const folder = folderWith(readFileSync(new URL('../../examples/prosody.cfg.lua', import.meta.url), 'utf8'))
  expect(await folder.run(['check'])).toMatchObject({ code: 0, stderr: '' })
  folder.configure(
    readFileSync(folder.file('prosody.cfg.lua'), 'utf8').replace(
      '{ 5222 }',
      '{ 0 }; component_ports = { 0 }',
    ),
  )
  const server = await folder.start()
  expect(server).toBeInstanceOf(RunningLegate)
  expect(await server.stop()).toMatchObject({ code: 0 })
})
