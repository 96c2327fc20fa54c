// legate check: each mistake, in words, and the exit code.

import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { afterEach, describe, expect, it } from 'vitest'
import { LegateFolder, type Outcome } from '../shared/legate-command.ts'

const folders: LegateFolder[] = []

function folderWith(config?: string): LegateFolder {
  const folder = new LegateFolder(config)
  folders.push(folder)
  return folder
}

function check(config: string): Promise<Outcome> {
  return folderWith(config).run(['check'])
}

afterEach(async () => {
  for (const folder of folders.splice(0)) await folder.remove()
})

const HOST = 'modules_enabled = { "delegation" }\nVirtualHost "capulet.lit"\n'
const COMPONENT = 'Component "pubsub.capulet.lit"\ncomponent_secret = "s"\n'

/** A host that delegates `urn:x` so, with a component that could manage it. */
const delegating = (
  entry: string,
  namespace = 'urn:x',
  component = `${COMPONENT}modules_enabled = { "delegation" }`,
) => `${HOST}delegations = { ["${namespace}"] = ${entry} }\n${component}\n`

describe('errors', () => {
  it.each([
    [
      'C1: an entry without jid',
      delegating('{ filtering = { "node" } }'),
      /prosody\.cfg\.lua:3: delegations\["urn:x"\] of capulet\.lit: jid is missing/,
    ],
    ['C1: an empty entry', delegating('{}'), /delegations\["urn:x"\] of capulet\.lit: jid is missing/],
    [
      'C1: a malformed jid',
      delegating('{ jid = "@capulet.lit" }'),
      /delegations\["urn:x"\] of capulet\.lit: jid is no JID: '@capulet\.lit'/,
    ],
    [
      'C3: the delegation namespace',
      delegating('{ jid = "pubsub.capulet.lit" }', 'urn:xmpp:delegation:2'),
      /of capulet\.lit: the delegation namespace itself can not be delegated/,
    ],
    [
      'C5: a component that does not enable delegation',
      delegating('{ jid = "pubsub.capulet.lit" }', 'urn:x', COMPONENT),
      /the component pubsub\.capulet\.lit does not enable the plugin.*modules_enabled = \{ "delegation" \}/,
    ],
    [
      'C5: a JID that no host here has',
      delegating('{ jid = "pubsub.montague.lit" }'),
      /no host or component here is called pubsub\.montague\.lit/,
    ],
    [
      'C5: an account that is not there',
      delegating('{ jid = "nurse@capulet.lit" }'),
      /there is no account nurse@capulet\.lit; add it with: legate adduser nurse@capulet\.lit/,
    ],
    [
      'delegations of a host without the plugin',
      'VirtualHost "capulet.lit"\ndelegations = {}\n',
      /delegations is set, but capulet\.lit does not have the plugin.*"delegation"/,
    ],
    [
      'global delegations without the plugin',
      'delegations = {}\nVirtualHost "capulet.lit"\n',
      /prosody\.cfg\.lua:1: delegations is set, but capulet\.lit does not have the plugin/,
    ],
    [
      'a component without a secret',
      `${HOST}Component "pubsub.capulet.lit"\n`,
      /prosody\.cfg\.lua:3: Component "pubsub\.capulet\.lit" has no component_secret/,
    ],
    ['no VirtualHost', 'c2s_ports = { 5222 }\n', /there is no VirtualHost/],
    ['no VirtualHost but a component', COMPONENT, /there is no VirtualHost/],
    ['a VirtualHost that is no domain', 'VirtualHost "a b@c"\n', /VirtualHost "a b@c" is not a name/],
    ['a Component that is no domain', `${HOST}Component "-x-/y"\n`, /Component "-x-\/y" is not a name/],
    ['a port that is none', `c2s_ports = { 70000 }\n${HOST}`, /prosody\.cfg\.lua:1: c2s_ports\[1\] must be/],
    ['a port twice', `c2s_ports = { 5222, 5222 }\n${HOST}`, /c2s_ports: the port 5222 is listed twice/],
    [
      'a port of two services',
      `c2s_ports = { 5347 }\n${HOST}${COMPONENT}`,
      /the port 5347 is in (c2s|component)_ports as well/,
    ],
    ['a storage that Legate does not have', `storage = "sql"\n${HOST}`, /storage/],
    [
      'an authentication that Legate does not have',
      `authentication = "ldap"\n${HOST}`,
      /authentication must be one of .*, is "ldap"/,
    ],
    [
      'a plugin for hosts on a component',
      `${HOST}${COMPONENT}modules_enabled = { "roster" }\n`,
      /the plugin "roster" is for a VirtualHost/,
    ],
    [
      'a certificate that is not there',
      `${HOST}ssl = { certificate = "x.crt"; key = "x.key" }\n`,
      /the certificate .*x\.crt of capulet\.lit does not exist/,
    ],
    ['a data folder that is a file', `data_path = "prosody.cfg.lua"\n${HOST}`, /is a file, not a folder/],
    ['what is no Lua', `VirtualHost capulet.lit\n`, /prosody\.cfg\.lua:1: /],
  ])('%s', async (_, config, words) => {
    const { code, stdout, stderr } = await check(config)
    expect(stdout).toMatch(words)
    expect(stdout).toMatch(/^error /m)
    expect(stderr).toBe('')
    expect(code).toBe(1)
  })

  it('all of them are told at once', async () => {
    const { code, stdout } = await check(
      `c2s_timeout = "soon"\n${HOST}delegations = { ["urn:a"] = { jid = "@" }, ["urn:b"] = { jid = "b.example" } }\n` +
        'Component "x.capulet.lit"\nmodules_enabled = { "roster" }\n',
    )
    expect(stdout.match(/^error .*/gm)).toHaveLength(5)
    expect(stdout).toMatch(/1 host, 1 component: 5 errors, 1 warning\.\n$/)
    expect(code).toBe(1)
  })
})

describe('warnings', () => {
  it.each([
    [
      'a plugin that Legate does not have',
      `modules_enabled = { "bosh" }\nVirtualHost "capulet.lit"\n`,
      /prosody\.cfg\.lua:1: modules_enabled: there is no plugin "bosh" in Legate yet; it is left out/,
    ],
    [
      'a module of a component that Legate does not have',
      `${HOST}Component "rooms.capulet.lit" "muc"\n`,
      /there is no plugin "muc" in Legate yet, so nobody answers at the component rooms\.capulet\.lit/,
    ],
    [
      'a misspelt option',
      `c2s_port = { 5222 }\n${HOST}`,
      /the option c2s_port is not known: did you mean c2s_ports/,
    ],
    ['a host without a certificate', HOST, /no certificate for capulet\.lit was found/],
    [
      'a log file that can not be made',
      `log = { info = "no/such/folder/legate.log" }\n${HOST}`,
      /the log file .*legate\.log can not be made: its folder is not there/,
    ],
    [
      'what there is instead of a plugin of Prosody',
      `modules_enabled = { "pep" }\nVirtualHost "capulet.lit"\n`,
      /there is no plugin "pep" in Legate yet; it is left out: .* "delegation" and "privilege"/,
    ],
    [
      'a misspelt plugin',
      `modules_enabled = { "carbon" }\nVirtualHost "capulet.lit"\n`,
      /there is no plugin "carbon" in Legate yet; it is left out: did you mean "carbons"\?/,
    ],
    [
      'a plugin with the name of its file',
      `modules_enabled = { "mod_mam" }\nVirtualHost "capulet.lit"\n`,
      /"mod_mam" .*: write it without "mod_": "mam"/,
    ],
    [
      'no plugins at all',
      'VirtualHost "capulet.lit"\n',
      /capulet\.lit has no modules_enabled, so nobody can log in/,
    ],
    [
      'people who can not log in',
      `modules_enabled = { "roster", "tls" }\nVirtualHost "capulet.lit"\n`,
      /prosody\.cfg\.lua:1: .*"saslauth" is not in it, so nobody can log in/,
    ],
    [
      'people who can not log in for want of TLS',
      `modules_enabled = { "roster", "saslauth" }\nVirtualHost "capulet.lit"\n`,
      /"tls" is not in it, and clients must have TLS .* so nobody can log in at c2s_ports/,
    ],
    [
      'registration without limits, by a plugin that `register` depends on',
      `modules_enabled = { "register" }\nallow_registration = true\nVirtualHost "capulet.lit"\n`,
      /prosody\.cfg\.lua:2: .*allow_registration: anybody may make as many accounts as they like/,
    ],
  ])('%s', async (_, config, words) => {
    const { code, stdout } = await check(config)
    expect(stdout).toMatch(words)
    expect(stdout).not.toMatch(/^error/m)
    expect(code).toBe(0)
  })

  it.each([
    ['posix, whose work the core does', `modules_enabled = { "posix" }\nVirtualHost "capulet.lit"\n`],
    [
      'offline, which is there unless it is disabled',
      `modules_enabled = { "roster", "saslauth", "tls" }\nVirtualHost "capulet.lit"\n`,
    ],
    [
      'offline, where it is disabled',
      `modules_enabled = { "roster", "saslauth", "tls" }\nmodules_disabled = { "offline" }\nVirtualHost "capulet.lit"\n`,
    ],
    [
      'tls, where clients begin with it',
      `modules_enabled = { "roster", "saslauth" }\nc2s_ports = {}\nc2s_direct_tls_ports = { 5223 }\n` +
        'VirtualHost "capulet.lit"\n',
    ],
    [
      'an option of a plugin that another depends on',
      `modules_enabled = { "register" }\nVirtualHost "capulet.lit"\nallow_registration = true\n` +
        'min_seconds_between_registrations = 600\n',
    ],
  ])('not of %s', async (_, config) => {
    // The certificate that is not there.
    expect((await check(config)).stdout).toMatch(
      /^warning .*no certificate.*\n\n.*: 0 errors, 1 warning\.\n$/,
    )
  })

  it('a module in Lua that stands in plugin_paths', async () => {
    const folder = folderWith(
      `plugin_paths = { "mine" }\nmodules_enabled = { "birthday" }\nVirtualHost "capulet.lit"\n`,
    )
    mkdirSync(folder.file('mine'))
    writeFileSync(folder.file('mine/mod_birthday.lua'), '')
    expect((await folder.run(['check'])).stdout).toContain(
      `"birthday" in Legate yet; it is left out: ${folder.file('mine/mod_birthday.lua')} is Lua, which Legate does not run`,
    )
  })
})

it('examples/im.cfg.lua has nothing that is warned of but the certificate that is not there', async () => {
  const text = readFileSync(new URL('../../examples/im.cfg.lua', import.meta.url), 'utf8')
  const { stdout, code } = await check(text)
  expect(stdout).toMatch(/^warning .*no certificate for example\.org.*\n\n.*: 0 errors, 1 warning\.\n$/)
  expect(code).toBe(0)
  // What the README promises.
  for (const name of ['mam', 'carbons', 'smacks', 'csi_simple', 'blocklist']) {
    expect(text).toMatch(new RegExp(`^ *"${name}"; `, 'm'))
  }
})

it('nothing is made', async () => {
  const folder = folderWith(delegating('{ jid = "nurse@capulet.lit" }'))
  await folder.run(['check'])
  expect(readdirSync(folder.path)).toEqual(['prosody.cfg.lua'])
})

it('C5: an account that is there may manage, also one of a host with accounts in memory', async () => {
  const folder = folderWith(delegating('{ jid = "nurse@capulet.lit" }'))
  await folder.run(['register', 'nurse', 'capulet.lit', 'pw'])
  expect(await folder.run(['check'])).toMatchObject({ code: 0 })
  expect(await check(`storage = "memory"\n${delegating('{ jid = "nurse@capulet.lit" }')}`)).toMatchObject({
    code: 0,
  })
})

it('plugins of the operator are known, with their options', async () => {
  const folder = folderWith(`plugin_paths = { "mine" }\n${HOST}modules_enabled = { "broken", "absent" }\n`)
  mkdirSync(folder.file('mine'))
  writeFileSync(folder.file('mine/broken.js'), 'throw new Error("half written")')
  const { code, stdout } = await folder.run(['check'])
  expect(stdout).toMatch(/error .*the plugin "broken" can not be read: half written/)
  expect(stdout).toMatch(/warning .*there is no plugin "absent"/)
  expect(stdout).not.toMatch(/plugin_paths/)
  expect(code).toBe(1)
  expect(existsSync(folder.file('data'))).toBe(false)
})

it('a host that is not enabled is not looked at', async () => {
  const off = `VirtualHost "montague.lit"\nenabled = false\nssl = { key = "x" }\nmodules_enabled = { "nothing" }\n`
  const { code, stdout } = await check(HOST + off)
  expect(stdout).toMatch(/1 host, 0 components: 0 errors, 1 warning/)
  expect(code).toBe(0)
})
