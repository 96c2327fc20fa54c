/** Holds prosody-compat.lua.md to the code. */

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { knownPlugins } from '../../server/cli/known-plugins.ts'
import { checkOptions, configFromObject, formatProblem, loadConfigFile } from '../../server/config/index.ts'
import * as legate from '../../server/index.ts'
import { Module } from '../../server/module.ts'

const root = new URL('../../', import.meta.url)
const read = (name: string) => readFileSync(new URL(name, root), 'utf8')
const document = read('prosody-compat.lua.md')
/** They declare events of their own. */
const PLUGINS_WITH_EVENTS = [
  'plugins/roster/index.ts',
  'plugins/presence/index.ts',
  'plugins/message.ts',
  'plugins/smacks/index.ts',
  'plugins/csi.ts',
  'plugins/csi_simple/index.ts',
  'plugins/register_ibr/index.ts',
  'plugins/user_account_management/index.ts',
]
const folder = mkdtempSync(join(tmpdir(), 'legate-compat-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** The text between two headings of the second level. */
function section(heading: string): string {
  const text = document.split(`\n## ${heading}\n`)[1]
  if (text === undefined) throw new Error(`there is no section "${heading}"`)
  return text.split('\n## ')[0]!
}

/** What stands in backticks in the first column of a section's tables. */
function firstColumn(text: string): string[] {
  const cells = text.split('\n').map((line) => /^\| ((?:`[^`]+`(?:, |…| )*)+)\|/.exec(line)?.[1] ?? '')
  return cells.flatMap((cell) => [...cell.matchAll(/`([^`]+)`/g)].map((match) => match[1]!))
}

describe('prosody-compat.lua.md', () => {
  const blocks = [...document.matchAll(/```lua config\n([\s\S]*?)```/g)].map((match) => match[1]!)

  it('has configurations', () => expect(blocks.length).toBeGreaterThan(1))

  it.each(blocks.map((text, index) => [index, text] as const))(
    'configuration %i loads without a problem',
    async (index, text) => {
      const file = join(folder, `${index}.cfg.lua`)
      writeFileSync(file, text)
      const config = await loadConfigFile(file)
      const { options } = await knownPlugins(config)
      expect(checkOptions(config, new Map(options)).map(formatProblem)).toEqual([])
    },
  )

  it('names every event that has a type, and no other', () => {
    const types = ['server/event-types.ts', ...PLUGINS_WITH_EVENTS].map(read).join('\n')
    // Keys of EventTypes; those of plugins stand deeper.
    const declared = [...types.matchAll(/^ {2,4}'([a-z/-]+)': *(?:\{|[A-Z])/gm)].map((match) => match[1]!)
    const named = firstColumn(section('Events')).filter((name) => declared.includes(name))
    expect([...new Set(named)].sort()).toEqual([...declared].sort())
  })

  it('names no event that nothing fires', () => {
    const code = ['server/router.ts', 'server/server.ts', 'server/binding.ts', 'plugins/disco/index.ts']
      .concat('server/cluster/cluster.ts')
      .concat(
        'plugins/disco/accounts.ts',
        'plugins/c2s.ts',
        'plugins/component.ts',
        'plugins/saslauth/authenticator.ts',
        PLUGINS_WITH_EVENTS,
      )
      .concat('plugins/presence/available.ts', 'plugins/smacks/streams.ts', 'plugins/smacks/undelivered.ts')
      .concat('server/admin/end-sessions.ts')
      .map(read)
      .join('\n')
    for (const name of firstColumn(section('Events'))) {
      const [kind = ''] = name.split('/')
      if (/^(pre-)?(message|presence|iq|iq-\w+|stanza)$/.test(kind)) continue // made of parts
      expect(code, name).toContain(`'${name}'`)
    }
  })

  it('names calls of the module API that are there', () => {
    const calls = [...section('The module API').matchAll(/`module\.(\w+)[^`]*`/g)].map((match) => match[1]!)
    const own = ['name', 'log', 'options', 'unload', 'host']
    for (const call of calls) {
      if (own.includes(call)) continue
      expect(Object.getOwnPropertyNames(Module.prototype), call).toContain(call)
    }
  })

  it('names every call of the module API', () => {
    const internal = ['constructor', 'resolveDepends', 'dispose', 'keep', 'keepTimeout', 'undoPart', 'run']
    for (const call of Object.getOwnPropertyNames(Module.prototype)) {
      if (!internal.includes(call)) expect(section('The module API'), call).toContain(`module.${call}`)
    }
  })

  it('names helpers that the package exports', () => {
    for (const name of ['reply', 'errorReply', 'definePlugin']) expect(legate).toHaveProperty(name)
  })

  it('lists every option that is read, and no other', async () => {
    const { options } = await knownPlugins(configFromObject({ virtualHosts: { 'capulet.lit': {} } }))
    const list = section('The configuration').split('### The options that are read')[1] ?? ''
    expect(firstColumn(list)).toEqual([...options.keys()].sort())
  })

  it('says what Legate has of its own in options that are there', () => {
    for (const name of firstColumn(section('The configuration'))) {
      expect(document, name).toContain(`| \`${name}\` |`)
    }
  })
})
