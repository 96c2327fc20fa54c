/** An account on its way into the storage: what is counted of it, and its mark. */

import { afterEach, expect, it, vi } from 'vitest'
import { AccountWriter } from '../../server/migration/account-writer.ts'
import type { ImportHost } from '../../server/migration/importer.ts'
import type { AccountPart } from '../../server/migration/parts.ts'
import { openStorage } from '../../server/storage/index.ts'
import { importHost } from '../shared/migration.ts'

afterEach(() => {
  vi.useRealTimers()
})

const message = (id = ''): AccountPart => ({
  kind: 'archived',
  stanza: { name: 'message', attrs: { id }, inner: '<body/>' },
  when: 1_500_000_000_000,
  partner: 'romeo@montague.lit',
  id: undefined,
})

function writerTo(target: ImportHost): AccountWriter {
  const jid = 'juliet@capulet.lit'
  const place = { file: 'x.xml' }
  return new AccountWriter({
    target,
    username: 'juliet',
    jid,
    place,
    dry: false,
    iterations: 4096,
    remove: undefined,
  })
}

it('attributes of a message count, too: it is written before there are too many of them in memory', async () => {
  const storage = openStorage('memory', { path: '' })
  const target = importHost(storage, 'capulet.lit')
  const writer = writerTo(target)
  await writer.add(message('x'.repeat(400_000)))
  expect(writer.size).toBeGreaterThan(400_000)
  for (let i = 0; i < 2; i++) await writer.add(message('x'.repeat(400_000)))
  expect(writer.size).toBe(0)
  expect(await target.stores.archive.count('juliet', {})).toBe(3)
  await writer.discard()
  await storage.close()
})

it('while messages come, its mark is renewed', async () => {
  vi.useFakeTimers({ toFake: ['Date'] })
  const storage = openStorage('memory', { path: '' })
  const target = importHost(storage, 'capulet.lit')
  const writer = writerTo(target)
  const marked = async () => (await target.stores.marks.get('juliet'))?.when
  const seen: (number | undefined)[] = []
  for (const minutes of [0, 0.5, 2]) {
    vi.setSystemTime(minutes * 60_000)
    for (let i = 0; i < 500; i++) await writer.add(message())
    seen.push(await marked())
  }
  expect(seen).toEqual([0, 0, 120_000])
  await writer.finish()
  expect(await marked()).toBeUndefined()
  await storage.close()
})
