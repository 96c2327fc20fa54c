/** The module manager: loading, reloading and unloading plugins that are files of the operator. */

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createConnection } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Host, Module } from '../../server/index.ts'
import { PluginError } from '../../server/index.ts'
import { startServer, type TestServer } from '../shared/server.ts'
import { troubles } from '../shared/streams.ts'

let folder: string
let test: TestServer
let host: Host
const CALLS = 'legate-test-calls'

/** What the plugins have told. */
function calls(): string[] {
  return (globalThis as Record<string, unknown>)[CALLS] as string[]
}

/** Writes a plugin; `tell(words)` is there for it. */
function write(name: string, load: string, rest = '', file = `${name}.js`): void {
  writeFileSync(
    join(folder, file),
    `const tell = (words) => globalThis['${CALLS}'].push(words)
     export default { name: '${name}', ${rest} load(module) { ${load} } }`,
  )
}

const modules = () => test.server.modules
const fire = (event: string) => host.events.fire(event, {})

beforeEach(async () => {
  ;(globalThis as Record<string, unknown>)[CALLS] = []
  folder = mkdtempSync(join(tmpdir(), 'legate-plugins-'))
  test = await startServer({
    virtualHosts: { 'capulet.lit': {}, 'montague.lit': {} },
    components: { 'echo.capulet.lit': { component_secret: 'x' } },
    plugin_paths: [folder],
    modules_enabled: ['saslauth'],
  })
  host = test.server.hosts.get('capulet.lit')!
})

afterEach(async () => {
  await test.stop()
  rmSync(folder, { recursive: true, force: true })
})

describe('load', () => {
  it('takes NAME.js or NAME/index.js of plugin_paths, once', async () => {
    write('one', "tell('one')")
    mkdirSync(join(folder, 'two'))
    write('two', "tell('two')", '', 'two/index.js')
    const first = await modules().load(host, 'one')
    expect(await modules().load(host, 'one')).toBe(first)
    await modules().load(host, 'two')
    expect(calls()).toEqual(['one', 'two'])
    expect(modules().isLoaded('capulet.lit', 'two')).toBe(true)
    expect(modules().isLoaded('montague.lit', 'two')).toBe(false)
  })

  it('loads what it depends on first, and gives it its exports', async () => {
    write('base', "tell('base'); module.exports = { answer: 42 }")
    write('middle', "tell('middle ' + module.exportsOf('base').answer)", "depends: ['base'],")
    write('top', "tell('top')", "depends: ['middle'],")
    await modules().load(host, 'top')
    expect(calls()).toEqual(['base', 'middle 42', 'top'])
    const names = modules().namesOn('capulet.lit')
    expect(names.slice(-3)).toEqual(['base', 'middle', 'top'])
  })

  it('two at the same time load what both depend on once', async () => {
    write('base', "tell('base'); return new Promise((resolve) => setTimeout(resolve, 20))")
    write('left', '', "depends: ['base'],")
    write('right', '', "depends: ['base'],")
    await Promise.all([
      modules().load(host, 'left'),
      modules().load(host, 'right'),
      modules().load(host, 'base'),
    ])
    expect(calls()).toEqual(['base'])
  })

  it('exports of what is not among its depends are refused', async () => {
    write('base', '')
    write('top', "module.exportsOf('base')")
    await modules().load(host, 'base')
    await expect(modules().load(host, 'top')).rejects.toThrow('not among its depends')
  })

  it.each([
    ['a', { a: ['a'] }],
    ['a', { a: ['b'], b: ['c'], c: ['a'] }],
  ])('circular depends are told with their way: %s %j', async (name, graph) => {
    for (const [plugin, depends] of Object.entries(graph)) {
      write(plugin, `tell('${plugin}')`, `depends: ${JSON.stringify(depends)},`)
    }
    const failed = modules().load(host, name)
    await expect(failed).rejects.toMatchObject({ code: 'circular-depends' })
    await expect(failed).rejects.toThrow('→')
    expect(calls()).toEqual([])
    // and the manager goes on
    write('fine', "tell('fine')")
    await modules().load(host, 'fine')
    expect(calls()).toEqual(['fine'])
  })

  it.each([
    ['unknown-plugin', 'nowhere', undefined],
    ['unknown-plugin', '../etc/passwd', undefined],
    ['broken-plugin', 'bad', 'this is no JavaScript'],
    ['broken-plugin', 'bad', 'throw new Error("at once")'],
    ['broken-plugin', 'bad', 'export const x = 1'],
    ['broken-plugin', 'bad', 'export default { name: "bad", load: 1 }'],
    ['broken-plugin', 'bad', 'export default { name: "other", load() {} }'],
  ])('%s: %s, %s', async (code, name, source) => {
    if (source !== undefined) writeFileSync(join(folder, `${name}.js`), source)
    const error = await modules()
      .load(host, name)
      .catch((reason) => reason)
    expect(error).toBeInstanceOf(PluginError)
    expect([error.code, error.message.includes(name)]).toEqual([code, true])
  })

  it('wrong-host: on a component what is for hosts, and the other way round', async () => {
    const component = test.server.hosts.get('echo.capulet.lit')!
    await expect(modules().load(component, 'c2s')).rejects.toMatchObject({ code: 'wrong-host' })
    await expect(modules().load(host, 'component')).rejects.toMatchObject({ code: 'wrong-host' })
  })

  it.each(["throw new Error('no')", "return Promise.reject(new Error('no'))"])(
    'that fails leaves nothing, and can be tried again: %s',
    async (failure) => {
      write('half', `module.hook('x', () => 1); module.addFeature('urn:half'); ${failure}`)
      await expect(modules().load(host, 'half')).rejects.toThrow('no')
      expect([fire('x'), host.items.get('feature').includes('urn:half')]).toEqual([undefined, false])
      expect(modules().isLoaded('capulet.lit', 'half')).toBe(false)
      write('half', "module.hook('x', () => 2)")
      await modules().reload('half')
      await modules().load(host, 'half')
      expect(fire('x')).toBe(2)
    },
  )
})

describe('unload', () => {
  it('leaves nothing of what it added', async () => {
    const names = host.events.names()
    const serverNames = test.server.events.names()
    const features = host.items.get('feature')
    write(
      'full',
      `module.hook('x', () => 1)
       module.hook('iq-get/host/urn:x:y', () => 1)
       module.hookGlobal('server-stopping', () => tell('stopping'))
       module.addFeature('urn:full')
       module.addIdentity('a', 'b')
       module.addItem('things', {})
       module.after(0.01, () => tell('after'))
       module.every(0.01, () => tell('every'))
       module.listen({ name: 'full', ports: [0], interfaces: ['127.0.0.1'], connected(socket) { socket.destroy() } })
       module.onUnload(() => tell('first'))
       module.onUnload(() => { throw new Error('unload-by-test') })
       module.onUnload(() => tell('last'))`,
    )
    await modules().load(host, 'full')
    await expect.poll(() => test.server.addresses.some(({ service }) => service === 'full')).toBe(true)
    const { port } = test.server.addresses.find(({ service }) => service === 'full')!
    modules().unload(host, 'full')
    expect(calls()).toEqual(['last', 'first'])
    expect(host.events.names()).toEqual(names)
    expect(test.server.events.names()).toEqual(serverNames)
    expect([host.items.get('feature'), host.items.get('identity'), host.items.get('things')]).toEqual([
      features,
      [],
      [],
    ])
    expect(test.server.addresses.some(({ service }) => service === 'full')).toBe(false)
    const refused = await new Promise((resolve) => {
      createConnection(port, '127.0.0.1')
        .on('error', resolve)
        .on('connect', () => resolve(undefined))
    })
    expect(refused).toMatchObject({ code: 'ECONNREFUSED' })
    // A timer of the wheel that is due later than the plugin's shows that those are gone.
    await new Promise<void>((resolve) => void test.server.timers.after(0.5, resolve))
    expect(calls()).toEqual(['last', 'first'])
  })

  it('a listener that was still being opened is closed too', async () => {
    write(
      'quick',
      "module.listen({ name: 'quick', ports: [0, 0, 0], interfaces: ['127.0.0.1'], connected(socket) { socket.destroy() } })",
    )
    await modules().load(host, 'quick')
    modules().unload(host, 'quick')
    const lines = () => test.log.filter((line) => line.includes('listening for quick')).length
    await expect.poll(lines).toBe(3)
    expect(test.server.addresses.some(({ service }) => service === 'quick')).toBe(false)
    const ports = test.log.flatMap((line) => /listening for quick.*port=(\d+)/.exec(line)?.[1] ?? [])
    for (const port of ports) {
      const outcome = await new Promise((resolve) => {
        createConnection(Number(port), '127.0.0.1')
          .on('error', resolve)
          .on('connect', () => resolve(port))
      })
      expect(outcome).toMatchObject({ code: 'ECONNREFUSED' })
    }
  })

  it('what is added after it does not stay', async () => {
    write('late', "globalThis['legate-test-module'] = module")
    await modules().load(host, 'late')
    modules().unload(host, 'late')
    const module = (globalThis as Record<string, unknown>)['legate-test-module'] as Module
    module.hook('x', () => 1)
    module.addFeature('urn:late')
    module.after(0, () => calls().push('late'))
    expect([fire('x'), host.items.get('feature').includes('urn:late')]).toEqual([undefined, false])
    await new Promise<void>((resolve) => void test.server.timers.after(0.3, resolve))
    expect(calls()).toEqual([])
  })

  it('takes those with it that depend on it, the last one first', async () => {
    write('base', "module.onUnload(() => tell('base'))")
    write('middle', "module.onUnload(() => tell('middle'))", "depends: ['base'],")
    write('top', "module.onUnload(() => tell('top'))", "depends: ['middle'],")
    await modules().load(host, 'top')
    modules().unload(host, 'base')
    expect(calls()).toEqual(['top', 'middle', 'base'])
  })

  it('the shared part runs once, and goes with the last host', async () => {
    write('both', "tell('load')", "shared(module) { tell('shared'); module.onUnload(() => tell('gone')) },")
    const other = test.server.hosts.get('montague.lit')!
    await Promise.all([modules().load(host, 'both'), modules().load(other, 'both')])
    expect(calls()).toEqual(['shared', 'load', 'load'])
    modules().unload(host, 'both')
    expect(calls()).toHaveLength(3)
    modules().unload(other, 'both')
    expect(calls()).toEqual(['shared', 'load', 'load', 'gone'])
  })
})

describe('reload', () => {
  it('takes the new file on every host that has it, and loads its dependents again', async () => {
    const other = test.server.hosts.get('montague.lit')!
    write('base', "module.exports = 1; module.hook('old', () => 1)")
    write('top', "tell('top ' + module.exportsOf('base')); module.hook('top', () => 1)", "depends: ['base'],")
    await modules().load(host, 'top')
    await modules().load(other, 'base')
    write('base', "module.exports = 2; module.hook('new', () => 2)")
    await modules().reload('base')
    expect(calls()).toEqual(['top 1', 'top 2'])
    for (const { events } of [host, other]) {
      expect([events.fire('old', {}), events.fire('new', {})]).toEqual([undefined, 2])
    }
    expect([fire('top'), other.events.has('top')]).toEqual([1, false])
    write('base', 'module.exports = 3')
    await modules().reload('base')
    expect(calls().at(-1)).toBe('top 3')
  })

  it.each([
    ['can not be read', 'this is no JavaScript'],
    [
      'fails in its load',
      "export default { name: 'base', load(module) { module.hook('new', () => 2); throw new Error('no') } }",
    ],
  ])('a new file that %s leaves the old plugin, and its dependents', async (_name, source) => {
    write('base', "module.exports = 1; module.hook('old', () => 1)")
    write('top', "module.hook('top', () => 1)", "depends: ['base'],")
    await modules().load(host, 'top')
    await modules().load(test.server.hosts.get('montague.lit')!, 'top')
    writeFileSync(join(folder, 'base.js'), source)
    await expect(modules().reload('base')).rejects.toThrow()
    for (const name of ['capulet.lit', 'montague.lit']) {
      const { events } = test.server.hosts.get(name)!
      expect([events.fire('old', {}), events.fire('new', {}), events.fire('top', {})]).toEqual([
        1,
        undefined,
        1,
      ])
    }
  })
})

describe('a plugin that fails', () => {
  it('in a timer is logged under its name, the timer goes on, and nothing is left unhandled', async () => {
    write(
      'ticking',
      `module.every(0.01, () => { tell('tick'); throw new Error('timer-by-test') })
       module.after(0.01, async () => { throw new Error('promise-by-test') })`,
    )
    await modules().load(host, 'ticking')
    expect(await test.logged('timer-by-test')).toContain('ticking')
    expect(await test.logged('promise-by-test')).toContain('ticking')
    await expect.poll(() => calls().length, { timeout: 5000 }).toBeGreaterThan(1)
    modules().unload(host, 'ticking')
  })

  it('in a hook or an async hook is logged with the event and its name', async () => {
    write(
      'hooks',
      `module.hook('x', () => { throw new Error('hook-by-test') })
       module.hook('y', async () => { throw new Error('async-by-test') })`,
    )
    await modules().load(host, 'hooks')
    fire('x')
    fire('y')
    for (const words of ['hook-by-test', 'async-by-test']) expect(await test.logged(words)).toContain('hooks')
  })

  it('timers that have fired are forgotten', async () => {
    write('many', "globalThis['legate-test-module'] = module")
    const module = await modules().load(host, 'many')
    const undo = (module as unknown as { undo: Set<unknown> }).undo
    for (let i = 0; i < 100; i++) module.after(0, () => {})
    module.after(5, () => {}).cancel()
    await expect.poll(() => undo.size).toBe(0)
  })
})

it('at the start, a plugin that can not be loaded is logged and left out; the rest is there', async () => {
  write('broken', "throw new Error('start-by-test')")
  write('fine', "module.hook('fine', () => 1)")
  const other = await startServer({
    virtualHosts: { 'verona.lit': {} },
    plugin_paths: [folder],
    modules_enabled: ['saslauth', 'nowhere', 'broken', 'fine'],
  })
  expect(other.server.hosts.get('verona.lit')!.events.fire('fine', {})).toBe(1)
  expect(other.log.find((line) => line.includes('nowhere'))).toContain('warn')
  expect(troubles(other)).toHaveLength(1)
  await other.stop()
})
