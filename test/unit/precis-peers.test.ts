// PRECIS as others have it: IANA's registry, and golang.org/x/text. scripts/unicode/precis-fixtures.mjs made both.
import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { CONTEXT, classOf, FREE, JAMO, JOINER, propertiesOf, VALID } from '../../server/precis/code-points.ts'
import { enforceOpaqueString, enforceUsername } from '../../server/precis/profiles.ts'

function readFixture<T>(name: string): T {
  return JSON.parse(readFileSync(new URL(`../fixtures/precis/${name}`, import.meta.url), 'utf8')) as T
}

it("the properties are those of IANA's registry, for every code point of Unicode 6.3", () => {
  const classes: Record<string, readonly number[]> = {
    PVALID: [VALID],
    'ID_DIS or FREE_PVAL': [FREE],
    CONTEXTJ: [JOINER],
    CONTEXTO: [CONTEXT],
    DISALLOWED: [0, JAMO],
  }
  const { properties, runs } = readFixture<{ properties: string[]; runs: string }>('iana-6.3.0.json')
  const numbers = runs.split(' ').map(Number)
  let code = 0
  let compared = 0
  for (let i = 0; i < numbers.length; i += 2) {
    const allowed = classes[properties[numbers[i + 1]!]!]
    for (const end = code + numbers[i]!; code < end; code++) {
      // UNASSIGNED then
      if (allowed === undefined) continue
      compared++
      if (!allowed.includes(classOf(propertiesOf(code)))) expect.fail(`U+${code.toString(16)}`)
    }
  }
  expect(code).toBe(0x110000)
  expect(compared).toBeGreaterThan(249_000)
})

it('random texts of characters that rules are about come out as those of golang.org/x/text', () => {
  const texts = readFixture<[text: string, username: string | null, opaque: string | null][]>('x-text.json')
  expect(texts.length).toBeGreaterThan(1000)
  for (const [text, username, opaque] of texts) {
    const ours = [enforceUsername(text, 1023) ?? null, enforceOpaqueString(text, 1023) ?? null]
    expect([text, ...ours]).toEqual([text, username, opaque])
  }
})
