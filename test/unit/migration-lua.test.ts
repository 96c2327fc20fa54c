/** Lua data as Prosody writes it: read as data, never run, in constant memory, and with the line of what is wrong. */

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { LuaDataReader, utf8 } from '../../server/migration/lua-data.ts'
import { type LuaItem, readLuaFile, readLuaList } from '../../server/migration/lua-file.ts'
import { DataError } from '../../server/migration/parts.ts'
import { vcardParts } from '../../server/migration/prosody-stores.ts'

const folder = mkdtempSync(join(tmpdir(), 'legate-lua-'))
afterAll(() => rmSync(folder, { recursive: true }))

function file(text: string): string {
  const path = join(folder, 'x.dat')
  writeFileSync(path, text, 'latin1')
  return path
}

const read = (text: string) => new LuaDataReader(`${text}\n`).value()

describe('values', () => {
  it('tables, with keys of every kind', () => {
    const table = read(`{
      [false] = { version = 2; }; ["a b"] = "x", c = 1; "first", [2] = -1.5e3; { }; nil, true -- a comment
    }`)
    expect(table).toEqual(
      new Map<unknown, unknown>([
        [false, new Map([['version', 2]])],
        ['a b', 'x'],
        ['c', 1],
        [1, 'first'],
        [2, new Map()],
        [3, undefined],
        [4, true],
      ]),
    )
  })

  it('strings, whose escapes are bytes', () => {
    expect(read('"\\195\\188\\n\\"\\\\\\065\\x41\\0"')).toBe('\u00c3\u00bc\n"\\AA\0')
    expect(utf8(read('"\\195\\188"') as string)).toBe('ü')
    expect(utf8('\u00fc')).toBeUndefined()
    expect(read("'a'")).toBe('a')
    expect(read('"a\\\nb"')).toBe('a\nb') // as %q wrote it
    expect(read('[==[\na]]b]==]')).toBe('a]]b')
  })

  it('numbers, the infinities too', () => {
    expect(['1', '-2', '0x1F', '1.5', '.5', '1e+20', '(1/0)', '(-1/0)', '(0/0)'].map(read)).toEqual([
      1,
      -2,
      31,
      1.5,
      0.5,
      1e20,
      Number.POSITIVE_INFINITY,
      Number.NEGATIVE_INFINITY,
      Number.NaN,
    ])
  })

  it.each([
    'os.execute("rm -rf /")',
    'function() end',
    '(1+1)',
    '"a".."b"',
    '{ [{}] = 1 }',
    '{ a = b }',
    '"\\400"',
    '"\\q"',
    '"a\nb"',
    '{ 1 2 }',
    `${'{'.repeat(500)}`,
    '',
    '{ a = ',
  ])('%s is not run, but refused', (text) => {
    expect(() => {
      const reader = new LuaDataReader(`${text}\n`)
      reader.value()
      if (!reader.atEnd) throw new Error('something is left')
    }).toThrow()
  })
})

describe('attributes with a namespace, which Prosody writes before their name', () => {
  const card = (attributes: string) => [
    ...vcardParts(read(`{ name = "vCard"; attr = { xmlns = "vcard-temp"; ${attributes} } }`)),
  ]

  it('get a prefix', () => {
    expect(card('["urn:a\\1b"] = "1"; ["urn:a\\1c"] = "2"')).toMatchObject([
      {
        text: expect.stringMatching(
          /^<vCard (?=.* (\w+):b="1")(?=.* (?!\1)\w+:c="2")(?=.* xmlns:\1="urn:a")/,
        ),
      },
    ])
  })

  it.each([
    ['["http://www.w3.org/2000/xmlns/\\1a"] = ""', 'the namespace of xmlns'],
    ['["urn:a\\1b"] = "1"; ["urn:a|b"] = "2"', 'the same attribute twice'],
  ])('unless nobody may send such: %s', (attributes, reason) => {
    expect(() => card(attributes)).toThrow(reason)
  })
})

describe('files', () => {
  it('what is wrong is told with its line and column', async () => {
    const path = file('return {\n\ta = 1;\n\tb = os.exit();\n};\n')
    const error = await readLuaFile(path, 'roster/x.dat', () => {}).catch((reason: unknown) => reason)
    expect(error).toBeInstanceOf(DataError)
    expect((error as DataError).place).toEqual({ file: 'roster/x.dat', line: 3, column: 6 })
  })

  it('a file that is cut off, and one with more than a value, is refused', async () => {
    await expect(readLuaFile(file('return {\n\ta = "'), 'x', () => {})).rejects.toThrow('ends in the middle')
    await expect(readLuaFile(file('return {};\nos.exit()'), 'x', () => {})).rejects.toThrow(
      'something follows',
    )
    expect(await readLuaFile(join(folder, 'missing'), 'x', () => {})).toBeUndefined()
    expect(await readLuaFile(file('return {}'), 'x', () => {})).toMatchObject({ line: 1 })
  })

  it('a list comes item by item, however the chunks fall', async () => {
    const lines = Array.from(
      { length: 3000 },
      (_, i) => `item({\n\t["n"] = ${i};\n\t"${'x'.repeat(i % 200)}";\n});`,
    )
    const items: LuaItem[] = []
    for await (const item of readLuaList(file(`${lines.join('\n')}\n`), 'x', () => {})) items.push(item)
    expect(items.map(({ value }) => (value as Map<unknown, unknown>).get('n'))).toEqual(
      lines.map((_, i) => i),
    )
    expect(items.map(({ line }) => line)).toEqual(lines.map((_, i) => 1 + 4 * i))
  })

  it('an item may be larger than a chunk, but not without end', async () => {
    const large = 'y'.repeat(1_000_000)
    const found: unknown[] = []
    for await (const { value } of readLuaList(file(`item({"${large}"});\nitem({"z"});\n`), 'x', () => {}))
      found.push((value as Map<unknown, unknown>).get(1))
    expect(found).toEqual([large, 'z'])
    const endless = file(`item({"${'x'.repeat(17_000_000)}`)
    await expect(readLuaList(endless, 'x', () => {}).next()).rejects.toThrow('more than 16 MB')
    const many = file(`item({${'{};'.repeat(300_000)}`)
    await expect(readLuaList(many, 'x', () => {}).next()).rejects.toThrow('more than 200000 tables')
  })
})
