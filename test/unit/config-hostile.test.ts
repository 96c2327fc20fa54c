// A configuration is the operator's code and may do anything, but it cannot hang the start nor eat the machine.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ConfigError, loadConfigFile } from '../../server/config/index.ts'

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'legate-config-hostile-'))
})
afterAll(() => rmSync(folder, { recursive: true }))

let files = 0
async function refused(text: string, timeoutMs = 300): Promise<ConfigError> {
  files++
  const path = join(folder, `hostile-${files}.cfg.lua`)
  writeFileSync(path, text)
  const error: unknown = await loadConfigFile(path, { timeoutMs, env: {}, print: () => {} }).then(
    () => undefined,
    (reason: unknown) => reason,
  )
  expect(error).toBeInstanceOf(ConfigError)
  expect((error as ConfigError).problems[0]?.position?.file).toBe(path)
  return error as ConfigError
}

describe('what does not end is stopped, with the line it was at', () => {
  it.each([
    ['a loop', 'while true do end'],
    ['a loop that catches what would stop it', 'while true do pcall(function () error("x") end) end'],
    ['a loop inside pcall', 'pcall(function () while true do end end)'],
    ['a coroutine that loops', 'coroutine.wrap(function () while true do end end)()'],
    ['coroutines without end', 'while true do coroutine.resume(coroutine.create(function () end)) end'],
    ['a pattern that takes for ever', 'string.find(("a"):rep(40000), (".-"):rep(20) .. "b")'],
    [
      'a __tostring that loops',
      'error(setmetatable({}, { __tostring = function () while true do end end }))',
    ],
    ['recursion that is caught', 'local function f() pcall(f) pcall(f) end f()'],
    ['a goto', '::again:: goto again'],
    ['printing', 'while true do print(("x"):rep(1000)) end'],
    ['Include in a loop', 'while true do Include "none*" end'],
    ['options in a loop', 'local i = 0 while true do i = i + 1 modules_enabled = { i } end'],
    ['growing that is caught', 'while true do pcall(string.rep, "x", 2^30) end'],
    [
      'an operator that loops',
      'local t = setmetatable({}, { __add = function () while true do end end }) x = t + 1',
    ],
  ])('%s', async (_what, text) => {
    const error = await refused(`-- one\n${text}\n`)
    expect(error.message).toContain('still ran after 0.3 seconds and was stopped')
    expect(error.problems[0]?.position?.line).toBe(2)
  })
})

describe('what grows ends with an error', () => {
  it.each([
    ['a text', 'x = ("x"):rep(2^30)', /memory|too large/],
    ['texts', 'local s = "x" while true do s = s .. s end', /memory/],
    ['a table', 'local t = {} for i = 1, 1e9 do t[i] = { ("x"):rep(1e5) .. i } end', /memory/],
    ['recursion', 'local function f() return 1 + f() end f()', /stack overflow/],
    ['recursion of gsub', 'local function f() return ("x"):gsub("x", f) end f()', /stack overflow/],
    ['braces', `x = ${'{'.repeat(5000)}${'}'.repeat(5000)}`, /overflow|too many/],
    ['options', 'for i = 1, 1e9 do _G[("x"):rep(1e5) .. i] = {} end', /memory/],
    ['text of options', 'x = {} for i = 1, 30 do x:append { ("x"):rep(2^20) .. i } end', /too long/],
  ])('%s', async (_what, text, message) => {
    const error = await refused(text, 15_000)
    expect(error.message).toMatch(message)
    expect(error.message).not.toContain('still ran')
  })
})

describe('what is left for later does not run later', () => {
  it('a finaliser that loops', async () => {
    const path = join(folder, 'finaliser.cfg.lua')
    writeFileSync(path, 'setmetatable({}, { __gc = function () while true do end end })\nname = "x"')
    // it is run when the state is closed, which is never: either it was stopped or it did not matter
    const outcome = await loadConfigFile(path, { timeoutMs: 1000, env: {} }).catch((error: unknown) => error)
    if (!(outcome instanceof ConfigError)) expect(outcome).toHaveProperty('hosts', [])
  })

  it('changing the library does not change how options are written', async () => {
    const path = join(folder, 'library.cfg.lua')
    writeFileSync(
      path,
      'getmetatable("").__index.gsub = nil\ngetmetatable("").__index.byte = nil\n' +
        'table.concat = nil\nLua.table.concat = error\nLua.pairs = nil\nsetmetatable(_G, nil)\nname = "x"\n',
    )
    const config = await loadConfigFile(path, { env: {} })
    // the metatable of _G is what makes options: without it there are none, and nothing worse
    expect(config.optionNames('*')).toEqual([])
  })
})
