// legate reload: what it tells, and what becomes of it in the server.

import { readFileSync, renameSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { login } from '../shared/client.ts'
import { ON_FREE_PORTS } from '../shared/legate-command.ts'
import { legateFolders } from '../shared/legate-folders.ts'

const HOST = 'VirtualHost "localhost"\n'
const folderWith = legateFolders()

describe('reload', () => {
  it('is done when the command ends, and says how many hosts there are', async () => {
    const folder = folderWith(ON_FREE_PORTS + HOST)
    const server = await folder.start()
    await folder.run(['register', 'juliet', 'localhost', 'pw'])
    const juliet = await login(server.c2sPort, 'juliet@localhost/balcony')
    folder.configure(`${ON_FREE_PORTS}${HOST}VirtualHost "new.example"\n`)
    const { code, stdout, stderr } = await folder.run(['reload'])
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toMatch(/^prosody\.cfg\.lua is read again\. Hosts and components that are served: 2\.$/m)
    await folder.run(['register', 'romeo', 'new.example', 'pw'])
    await (await login(server.c2sPort, 'romeo@new.example/orchard')).close()
    await juliet.settled()
    await juliet.close()
    await server.stop()
  })

  it('tells mistakes with their places and exits 1; the server goes on with the old configuration', async () => {
    const folder = folderWith(ON_FREE_PORTS + HOST)
    const server = await folder.start()
    folder.configure(`${ON_FREE_PORTS}c2s_timeout = "soon"\nmax_resources = {}\n${HOST}`)
    const { code, stdout, stderr } = await folder.run(['reload'])
    expect(code).toBe(1)
    expect(stdout).toMatch(/^error {4}prosody\.cfg\.lua:\d+: c2s_timeout must be/m)
    expect(stdout).toMatch(/^error {4}prosody\.cfg\.lua:\d+: max_resources must be/m)
    expect(stderr).toBe('legate: the configuration has mistakes: the server goes on with the old one\n')
    await server.logged(/c2s_timeout must be/)
    const json = await folder.run(['reload', '--json'])
    expect(json.code).toBe(1)
    expect(JSON.parse(json.stdout)).toMatchObject({
      taken: false,
      problems: expect.arrayContaining([
        expect.objectContaining({ severity: 'error', option: 'max_resources' }),
      ]),
    })
    await server.stop()
  })

  it('with a file that is no Lua the server is not asked', async () => {
    const folder = folderWith(ON_FREE_PORTS + HOST)
    const server = await folder.start()
    folder.configure('this is no Lua')
    const { code, stdout, stderr } = await folder.run(['reload'])
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
    expect(stderr).toMatch(
      /the server was not asked to read it; it goes on with the old one:\nerror .*syntax error/,
    )
    await server.stop()
  })

  it('tells what waits for the next start, warnings, and plugins that can not be loaded', async () => {
    const folder = folderWith(ON_FREE_PORTS + HOST)
    folder.write(
      'broken.js',
      'module.exports = { name: "broken", load() { throw new Error("out of order") } }',
    )
    const server = await folder.start()
    folder.configure(
      `${ON_FREE_PORTS}c2s_ports = { 5222 }\nplugin_paths = { "." }\n${HOST}modules_enabled = { "broken", "bosh" }\n`,
    )
    const { code, stdout } = await folder.run(['reload'])
    expect(stdout).toMatch(/^warning {2}prosody\.cfg\.lua:\d+: c2s_ports is set again/m)
    expect(stdout).toMatch(/^Changed, but only read at the next start: c2s_ports$/m)
    expect(stdout).toMatch(/error +localhost: the plugin "broken" could not be loaded: out of order$/m)
    expect(stdout).toMatch(/warning +localhost: modules_enabled names "bosh", which Legate does not have/)
    expect(code).toBe(0)
    await server.stop()
  })

  it('reopens log files', async () => {
    const log = 'log = { info = "legate.log"; { levels = { min = "info" }, to = "console" } }\n'
    const folder = folderWith(ON_FREE_PORTS + log + HOST)
    const server = await folder.start()
    renameSync(folder.file('legate.log'), folder.file('legate.log.1'))
    await folder.run(['reload'])
    expect(readFileSync(folder.file('legate.log'), 'utf8')).toMatch(/ configuration reloaded /)
    await server.stop()
  })

  it('many at the same time, with signals in between, are few reloads; each is told its outcome', async () => {
    const folder = folderWith(ON_FREE_PORTS + HOST)
    const server = await folder.start()
    const outcomes = Promise.all(Array.from({ length: 4 }, () => folder.run(['reload'])))
    for (let count = 0; count < 20; count++) server.child.kill('SIGHUP')
    for (const outcome of await outcomes) expect(outcome).toMatchObject({ code: 0, stderr: '' })
    expect(await folder.run(['reload'])).toMatchObject({ code: 0 })
    expect(server.text.match(/ configuration reloaded /g)!.length).toBeLessThan(20)
    expect(await server.stop()).toMatchObject({ code: 0 })
  })
})

describe('accounts of a running server', () => {
  it('deluser ends the sessions of the account before the command ends', async () => {
    const folder = folderWith(ON_FREE_PORTS + HOST)
    for (const user of ['juliet', 'nurse']) await folder.run(['register', user, 'localhost', 'pw'])
    const server = await folder.start()
    const juliet = await login(server.c2sPort, 'juliet@localhost/balcony')
    const nurse = await login(server.c2sPort, 'nurse@localhost/kitchen')
    expect(await folder.run(['deluser', 'juliet@localhost'])).toEqual({
      code: 0,
      signal: null,
      stdout: 'juliet@localhost is deleted, with all that was stored of it.\n1 session of it ended.\n',
      stderr: '',
    })
    expect(await juliet.streamError()).toMatchObject({
      condition: 'not-authorized',
      text: 'The account was deleted',
    })
    await juliet.close()
    await nurse.settled()
    await nurse.close()
    await server.stop()
  })

  it('passwd --disconnect ends them as well; without it they stay', async () => {
    const folder = folderWith(ON_FREE_PORTS + HOST)
    await folder.run(['register', 'juliet', 'localhost', 'pw'])
    const server = await folder.start()
    const juliet = await login(server.c2sPort, 'juliet@localhost/balcony')
    const kept = await folder.run(['passwd', 'juliet@localhost'], 'other\n')
    expect(kept).toMatchObject({ code: 0, stdout: expect.stringMatching(/Sessions that are open stay open/) })
    await juliet.settled()
    const ended = await folder.run(['passwd', 'juliet@localhost', '--disconnect'], 'third\n')
    expect(ended).toMatchObject({
      code: 0,
      stdout: 'The password of juliet@localhost is changed.\n1 session of it ended.\n',
    })
    expect(await juliet.streamError()).toMatchObject({ text: 'The password was changed' })
    await juliet.close()
    await (await login(server.c2sPort, 'juliet@localhost/a', { password: 'third' })).close()
    await server.stop()
  })

  it('both do their work where no server runs', async () => {
    const folder = folderWith(ON_FREE_PORTS + HOST)
    await folder.run(['register', 'juliet', 'localhost', 'pw'])
    expect(await folder.run(['passwd', 'juliet@localhost', '--disconnect'], 'x\n')).toMatchObject({
      code: 0,
      stderr: '',
    })
    expect(await folder.run(['deluser', 'juliet@localhost'])).toMatchObject({ code: 0, stderr: '' })
  })
})
