// prosody.cfg.lua through Lua: scopes, inclusion, files, lists and sets, and where each option was set.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  allCoreOptions,
  type Config,
  ConfigError,
  checkOptions,
  formatProblem,
  type LuaFileOptions,
  loadConfigFile,
} from '../../server/config/index.ts'

const fixtures = resolve(import.meta.dirname, '../fixtures/config')
let folder: string

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'legate-config-test-'))
})
afterAll(() => rmSync(folder, { recursive: true }))

function write(name: string, text: string): string {
  const path = join(folder, name)
  writeFileSync(path, text)
  return path
}

let files = 0
function load(text: string, options: LuaFileOptions = {}): Promise<Config> {
  files++
  return loadConfigFile(write(`config-${files}.cfg.lua`, text), { env: {}, print: () => {}, ...options })
}

async function refused(text: string, options: LuaFileOptions = {}): Promise<string> {
  const error: unknown = await load(text, options).then(
    () => undefined,
    (reason: unknown) => reason,
  )
  expect(error).toBeInstanceOf(ConfigError)
  return (error as ConfigError).message.replaceAll(`${folder}/`, '')
}

const warningsOf = (config: Config) =>
  config.warnings.map((problem) => formatProblem(problem).replaceAll(`${folder}/`, ''))

describe('sections', () => {
  it('options before the first host are global, and a host sees its own first', async () => {
    const config = await load(`
      name = "everyone"
      c2s_timeout = 10
      VirtualHost "Montague.LIT"
        name = "montagues"
      Host "capulet.lit"
      Component "rooms.capulet.lit" "muc"
        name = "rooms"
      Component "plain.capulet.lit"
      component "other.capulet.lit"
    `)
    expect(config.hosts.map(({ name, type, module }) => [name, type, module])).toEqual([
      ['montague.lit', 'host', undefined],
      ['capulet.lit', 'host', undefined],
      ['rooms.capulet.lit', 'component', 'muc'],
      ['plain.capulet.lit', 'component', undefined],
      ['other.capulet.lit', 'component', undefined],
    ])
    expect(config.get('montague.lit', 'name')).toBe('montagues')
    expect(config.get('capulet.lit', 'name')).toBe('everyone')
    expect(config.get('rooms.capulet.lit', 'c2s_timeout')).toBe(10)
    expect(config.get('*', 'name')).toBe('everyone')
    expect(config.has('capulet.lit', 'name')).toBe(false)
    expect(config.optionNames('*')).toEqual(['name', 'c2s_timeout'])
    expect(config.hosts[0]?.position).toEqual({ file: config.path, line: 4 })
    expect(config.position('montague.lit', 'name')?.line).toBe(5)
    expect(config.position('capulet.lit', 'name')?.line).toBe(2)
  })

  it('options in braces belong to the host, and what follows is global again', async () => {
    const config = await load(`
      VirtualHost "a.lit" { name = "A"; c2s_timeout = 1 }
      Component "b.lit" "muc" { name = "B" }
      Component "c.lit" { component_secret = "x" }
      name = "global"
    `)
    expect(config.get('a.lit', 'name')).toBe('A')
    expect(config.position('a.lit', 'c2s_timeout')?.line).toBe(2)
    expect(config.get('b.lit', 'name')).toBe('B')
    expect(config.hosts[1]?.module).toBe('muc')
    expect(config.get('c.lit', 'component_secret')).toBe('x')
    expect(config.get('*', 'name')).toBe('global')
  })

  it('a host may be disabled', async () => {
    const config = await load('VirtualHost "a.lit" enabled = false\nVirtualHost "b.lit"')
    expect(config.hosts.map(({ enabled }) => enabled)).toEqual([false, true])
  })

  it('a host declared again is one host, as in Prosody, with a warning that has both lines', async () => {
    const config = await load('VirtualHost "a.lit"\nname = "A"\nVirtualHost "a.lit"\nc2s_timeout = 1')
    expect(config.hosts).toHaveLength(1)
    expect(config.optionNames('a.lit')).toEqual(['name', 'c2s_timeout'])
    const file = `config-${files}.cfg.lua`
    expect(warningsOf(config)).toEqual([
      `${file}:3: host a.lit: VirtualHost "a.lit" is declared twice, first at ${file}:1: both sections count as one`,
    ])
  })

  it('a host and a component cannot have one name, nor a component two modules', async () => {
    expect(await refused('VirtualHost "a.lit"\n\nComponent "A.lit" "muc"')).toMatch(
      /^config-\d+\.cfg\.lua:3: Component "A.lit" is declared as a VirtualHost already, at config-\d+\.cfg\.lua:1:/,
    )
    expect(await refused('Component "a.lit" "muc"\nVirtualHost "a.lit"')).toMatch(/:2: .*:1:/)
    expect(await refused('Component "a.lit" "muc"\nComponent "a.lit" "pubsub"')).toContain(
      '"muc" and "pubsub"',
    )
  })

  it.each([
    ['VirtualHost ""', 'VirtualHost needs a name'],
    ['VirtualHost()', 'VirtualHost needs a name'],
    ['Component {}', 'Component needs a name'],
    ['VirtualHost "a b"', 'VirtualHost "a b" is not a name that a domain can have'],
    ['VirtualHost "*"', 'cannot have the name'],
    ['VirtualHost "a.lit" "muc"', 'takes no module ("muc")'],
    ['VirtualHost "a.lit" (5)', 'followed by a number'],
    ['VirtualHost "a.lit" { "x" }', "an option's name must be text"],
  ])('%s is refused with its line', async (text, message) => {
    const problem = await refused(`\n${text}`)
    expect(problem).toMatch(/^config-\d+\.cfg\.lua:2: /)
    expect(problem).toContain(message)
  })
})

describe('values', () => {
  it('tables become arrays, objects, or objects with the sequence under "1", "2"', async () => {
    const config = await load(`
      list = { "a", 2, true }
      empty = {}
      keys = { a = 1, ["b c"] = { nested = "x" } }
      mixed = { a = 1; "first"; "second" }
      sparse = { [1] = "a", [5] = "b" }
      long = [[
line]]
      float = 1.5
      ever = math.huge
      nothing = nil
    `)
    expect(config.get('*', 'list')).toEqual(['a', 2, true])
    expect(config.get('*', 'empty')).toEqual([])
    expect(config.get('*', 'keys')).toEqual({ a: 1, 'b c': { nested: 'x' } })
    expect(config.get('*', 'mixed')).toEqual({ a: 1, '1': 'first', '2': 'second' })
    expect(config.get('*', 'sparse')).toEqual({ '1': 'a', '5': 'b' })
    expect(config.get('*', 'long')).toBe('line')
    expect(config.get('*', 'float')).toBe(1.5)
    expect(config.get('*', 'ever')).toBe(Number.POSITIVE_INFINITY)
    expect(config.has('*', 'nothing')).toBe(false)
  })

  it('text is kept as it is: quotes, controls, other scripts', async () => {
    const config = await load(
      'a = "q\\" b\\\\ n\\n t\\t \\1 \\127"\nb = "Ромео 💕"\nc = "legate-config-1:2: x"',
    )
    expect(config.get('*', 'a')).toBe('q" b\\ n\n t\t \u0001 \u007f')
    expect(config.get('*', 'b')).toBe('Ромео 💕')
    expect(config.get('*', 'c')).toBe('legate-config-1:2: x')
  })

  it('keys such as __proto__ are harmless', async () => {
    const config = await load(
      'x = { __proto__ = { polluted = true }, constructor = 1 }\n__proto__ = { a = 1 }',
    )
    const value = config.get('*', 'x') as Record<string, unknown>
    expect(Object.getPrototypeOf(value)).toBeNull()
    expect(Object.keys(value).sort()).toEqual(['__proto__', 'constructor'])
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined()
    expect(config.get('*', '__proto__')).toEqual({ a: 1 })
    expect(config.get('*', 'toString')).toBeUndefined()
  })

  it.each([
    ['x = { f = function () end }', 'x.f is a function'],
    ['x = {} x.y = { x }', 'contains itself'],
    ['local t = {} t.self = t\nx = t', 'x.self contains itself'],
    ['local t = {} for i = 1, 100 do t = { t } end\nx = t', 'nested more than 32'],
    ['local t = {} for i = 1, 30 do t = { t, t } end\nx = t', 'is too much'],
    ['x = { [true] = 1 }', 'has a key that is a boolean'],
    ['x = "\\255"', 'x has bytes that are not UTF-8'],
    ['x = 0/0', 'x is not a number'],
    ['authentication = print', 'authentication is a function'],
  ])('%s cannot be an option', async (text, message) => {
    expect(await refused(text)).toContain(message)
  })

  it('a function that helps is left out with a warning', async () => {
    const config = await load('function twice(x) return { x, x } end\nlist = twice("a")')
    expect(config.get('*', 'list')).toEqual(['a', 'a'])
    expect(config.has('*', 'twice')).toBe(false)
    expect(warningsOf(config)).toEqual([expect.stringContaining(':1: twice is a function')])
  })
})

describe('reading back', () => {
  it('lists and sets are added to with + and taken from with -', async () => {
    const config = await load(`
      modules_enabled = { "roster", "disco", "ping" }
      modules_enabled = modules_enabled + { "pep", "disco" }
      modules_enabled = modules_enabled - { "ping" }
      admins = { "a@lit" } + { "b@lit" } - { "a@lit" }
      local base = { "x" }
      other = base + { "y" }
      c2s_ports = 5222
      c2s_ports = c2s_ports + { 5223 }
      c2s_interfaces = c2s_interfaces + { "::1" }
      keys = { a = 1, b = 2 } + { b = 3, c = 4 } - { "a" }
      more = other + "z" - "x"
    `)
    expect(config.get('*', 'modules_enabled')).toEqual(['roster', 'disco', 'pep'])
    expect(config.get('*', 'admins')).toEqual(['b@lit'])
    expect(config.get('*', 'other')).toEqual(['x', 'y'])
    expect(config.get('*', 'c2s_ports')).toEqual([5222, 5223])
    expect(config.get('*', 'c2s_interfaces')).toEqual(['::1'])
    expect(config.get('*', 'keys')).toEqual({ b: 3, c: 4 })
    expect(config.get('*', 'more')).toEqual(['y', 'z'])
    expect(warningsOf(config)).toEqual([])
  })

  it('a host adds to what is global without changing it', async () => {
    const config = await load(`
      admins = { "global@lit" }
      VirtualHost "a.lit"
        admins = admins + { "a@lit" }
      VirtualHost "b.lit"
        admins:append { "b@lit" }
      VirtualHost "c.lit"
        admins { "c@lit" }
      VirtualHost "d.lit"
        table.insert(admins, "d@lit")
      VirtualHost "e.lit"
        admins = admins - { "global@lit" }
    `)
    expect(config.get('*', 'admins')).toEqual(['global@lit'])
    expect(config.get('a.lit', 'admins')).toEqual(['global@lit', 'a@lit'])
    expect(config.get('b.lit', 'admins')).toEqual(['global@lit', 'b@lit'])
    expect(config.get('c.lit', 'admins')).toEqual(['global@lit', 'c@lit'])
    expect(config.get('d.lit', 'admins')).toEqual(['global@lit', 'd@lit'])
    expect(config.get('e.lit', 'admins')).toEqual([])
  })

  it("Prosody's ways to read a list back", async () => {
    const config = await load(`
      list = { "a", "b" }
      list { "c" }
      count = #list
      first = list[1]
      local seen = {}
      for item in list:values() do seen[#seen + 1] = item end
      copy = seen
      joined = table.concat(list, ",")
      keyed = { a = 1 }
      keyed:append { b = 2 }
    `)
    expect(config.get('*', 'list')).toEqual(['a', 'b', 'c'])
    expect(config.get('*', 'count')).toBe(3)
    expect(config.get('*', 'first')).toBe('a')
    expect(config.get('*', 'copy')).toEqual(['a', 'b', 'c'])
    expect(config.get('*', 'joined')).toBe('a,b,c')
    expect(config.get('*', 'keyed')).toEqual({ a: 1, b: 2 })
  })

  it('braces in text and comments, and calls with braces, are left alone', async () => {
    const config = await load(`
      -- { not a table }
      --[==[ { nor
        this ]] } ]==]
      text = "{" .. '}' .. [[{]] .. [=[ "}" ]=] .. "\\"{"
      local function id(t) return t end
      a = id{ "x" }
      b = id { id{ 1 } [1], ({ 2 })[1] }
      c = (id)({ "y" })
      local object = { call = id, at = { id } }
      d = object.call{ "z" }; e = object.at[1]{ "w" }
      f = #{ 1, 2, 3 } == 3 and { "yes" } or { "no" }
    `)
    expect(config.get('*', 'text')).toBe('{}{ "}" "{')
    expect(config.get('*', 'a')).toEqual(['x'])
    expect(config.get('*', 'b')).toEqual([1, 2])
    expect(config.get('*', 'c')).toEqual(['y'])
    expect(config.get('*', 'd')).toEqual(['z'])
    expect(config.get('*', 'e')).toEqual(['w'])
    expect(config.get('*', 'f')).toEqual(['yes'])
  })

  it('a word without quotes, and an option that is set again, are told', async () => {
    const config = await load('name = "a"\nname = "b"\nauthentication = internal_hashed')
    const file = `config-${files}.cfg.lua`
    expect(warningsOf(config)).toEqual([
      `${file}:2: name is set again: the value of line 1 is forgotten`,
      `${file}:3: internal_hashed has no value here (are quotes missing around it?)`,
    ])
  })
})

describe('the surroundings', () => {
  it('ENV_X and os.getenv see the environment, and only that', async () => {
    const config = await load(
      'a = ENV_SECRET\nb = os.getenv("SECRET")\nc = ENV_NONE == nil\nd = ENV_toString == nil and Lua.os.getenv("PATH") == nil',
      { env: { SECRET: 'x"y' } },
    )
    expect(['a', 'b', 'c', 'd'].map((name) => config.get('*', name))).toEqual(['x"y', 'x"y', true, true])
  })

  it('print goes where it is told to', async () => {
    const lines: string[] = []
    await load('print("a", 1, nil)\nLua.print "b"', { print: (line) => lines.push(line) })
    expect(lines).toEqual(['a\t1\tnil', 'b'])
  })

  it.each([
    ['io.open("/etc/passwd")', 'io is not there'],
    ['os.execute("true")', 'os.execute is not there'],
    ['os.exit(1)', 'os.exit is not there'],
    ['require "socket"', 'require is not there'],
    ['dofile "x"', 'use Include'],
    ['debug.sethook()', 'debug is not there'],
    ['string.dump(print)', 'attempt to call a nil value'],
    ['load("\\27Lua")()', 'attempt to call a nil value'],
    ['VirtualHost = 5', 'VirtualHost cannot be set'],
    ['modules_enabled { "a" ', "'}' expected"],
    ['c2s_ports { 5222 }', 'is = missing after c2s_ports?'],
    ['x = y + 1', 'attempt to perform arithmetic on a nil value'],
    ['x = { "a" } + y', 'nothing to add'],
    ['error("my own")', 'my own'],
    ['error({ code = 5 })', 'table: '],
    ['error(setmetatable({}, { __tostring = function () return "shown" end }))', 'shown'],
    ['error(nil)', 'nil'],
  ])('%s is an error with its line', async (text, message) => {
    const problem = await refused(`-- one\n-- two\n${text}`)
    expect(problem).toMatch(/^config-\d+\.cfg\.lua:3: /)
    expect(problem).toContain(message)
  })

  it('a file that is not there, a folder, and a pipe are named', async () => {
    await expect(loadConfigFile(join(folder, 'none.cfg.lua'))).rejects.toThrow(
      `${folder}/none.cfg.lua: cannot be read: there is no such file`,
    )
    await expect(loadConfigFile(folder)).rejects.toThrow('it is a folder')
    await expect(loadConfigFile('/dev/zero')).rejects.toThrow('not a regular file')
  })

  it('a long path is not cut in messages, and a byte order mark is passed over', async () => {
    const name = `${'long'.repeat(30)}.cfg.lua`
    const path = write(name, '\ufeffname = "x"\n\nerror "here"')
    await expect(loadConfigFile(path)).rejects.toThrow(`${path}:3: here`)
  })
})

describe('other files', () => {
  it('Include reads a file relative to the one that includes, in a global section of its own', async () => {
    write('part.lua', 'name = "from part"\nVirtualHost "part.lit"\nc2s_timeout = 7')
    const config = await load('VirtualHost "a.lit"\nInclude "part.lua"\nmax_resources = 3')
    expect(config.get('*', 'name')).toBe('from part')
    expect(config.position('*', 'name')).toEqual({ file: join(folder, 'part.lua'), line: 1 })
    expect(config.get('part.lit', 'c2s_timeout')).toBe(7)
    expect(config.has('a.lit', 'max_resources')).toBe(true)
  })

  it('an included file may be missing only with a wildcard; errors in it have its name', async () => {
    expect(await refused('\nInclude "none.lua"')).toMatch(
      /^config-\d+\.cfg\.lua:2: Include "none.lua" cannot be read: there is no such file/,
    )
    write('broken.lua', '\n\nname = = 5')
    expect(await refused('Include "broken.lua"')).toMatch(/^broken\.lua:3: /)
    write('failing.lua', '\nerror "x"')
    expect(await refused('Include "fail*.lua"')).toMatch(/^failing\.lua:2: x/)
    const config = await load('Include "none*.lua"\nInclude "nowhere/*.lua"')
    expect(warningsOf(config)).toEqual([
      expect.stringContaining('nowhere cannot be read, nothing is included'),
    ])
  })

  it('a wildcard takes ? and *, in the order of the names', async () => {
    write('wild-2.inc', 'order = order + { 2 }')
    write('wild-1.inc', 'order = order + { 1 }')
    write('wild-10.inc', 'order = order + { 10 }')
    write('wild-+.in', 'order = order + { "no" }')
    expect((await load('Include "wild-?.inc"')).get('*', 'order')).toEqual([1, 2])
    expect((await load('Include "wild-*.inc"')).get('*', 'order')).toEqual([1, 10, 2])
    expect((await load('Include "wild-+*"')).get('*', 'order')).toEqual(['no'])
  })

  it('a circle of Include ends with an error', async () => {
    write('circle-a.lua', 'Include "circle-b.lua"')
    write('circle-b.lua', 'Include "./circle-a.lua"')
    expect(await refused('Include "circle-a.lua"')).toContain('circle-a.lua includes itself')
  })

  it('FileLine, FileLines, FileContents read relative to the file that names them', async () => {
    write('bytes.txt', 'one\r\ntwo\r\n')
    writeFileSync(join(folder, 'bytes.bin'), Buffer.from([0xff, 0, 0x41]))
    const config = await load(
      `
      a = FileLine "${fixtures}/secret.txt"
      b = FileLines "${fixtures}/secret.txt"
      c = FileContents "${fixtures}/secret.txt"
      d = FileLine "bytes.txt"
      e = FileContents("bytes.bin"):byte(1) .. "," .. #FileContents("bytes.bin")
      f = FileLines "bytes.txt" + { "more" }
    `,
    )
    expect(config.get('*', 'a')).toBe('verona')
    expect(config.get('*', 'b')).toEqual(['verona', 'second line', '', 'last'])
    expect(config.get('*', 'c')).toBe('verona\nsecond line\r\n\nlast')
    expect(config.get('*', 'd')).toBe('one')
    expect(config.get('*', 'e')).toBe('255,3')
    expect(config.get('*', 'f')).toEqual(['one', 'two', 'more'])
  })

  it('a file that cannot be read is named with the option', async () => {
    expect(await refused('\ncomponent_secret = FileLine "none.txt"')).toMatch(
      /^config-\d+\.cfg\.lua:2: component_secret: FileLine "none.txt" cannot be read: there is no such file \(none\.txt\)/,
    )
    write('empty.txt', '')
    expect(await refused('component_secret = FileLine "empty.txt"')).toContain('the first line is empty')
    expect(await refused('component_secret = FileContents(nil)')).toContain(
      'component_secret: FileContents needs',
    )
  })

  it('Credential reads from $CREDENTIALS_DIRECTORY', async () => {
    const text = 'VirtualHost "a.lit"\ncomponent_secret = Credential "component"'
    const env = { CREDENTIALS_DIRECTORY: join(fixtures, 'credentials') }
    expect((await load(text, { env })).get('a.lit', 'component_secret')).toBe('from systemd')
    expect(await refused(text)).toMatch(/:2: component_secret: Credential needs .*CREDENTIALS_DIRECTORY/)
    const config = await load(text, { credentials: 'optional' })
    expect(config.has('a.lit', 'component_secret')).toBe(false)
    expect(warningsOf(config)).toHaveLength(1)
  })
})

describe("Debian's configuration of Prosody", () => {
  it('loads as it stands, with warnings only', async () => {
    const config = await loadConfigFile(join(fixtures, 'debian.cfg.lua'), { env: {} })
    expect(config.hosts.map(({ name, type }) => [name, type])).toEqual([
      ['localhost', 'host'],
      ['gateway.localhost', 'component'],
    ])
    expect(config.directory).toBe(fixtures)
    expect(config.get('gateway.localhost', 'component_secret')).toBe('verona')
    expect(config.get('*', 'not_read')).toBeUndefined()
    const problems = checkOptions(config, allCoreOptions)
    expect(problems.filter(({ severity }) => severity === 'error')).toEqual([])
    expect(
      problems
        .map(({ option }) => option)
        .filter(Boolean)
        .sort(),
    ).toEqual(['archive_expires_after', 's2s_secure_auth'])
  })
})
