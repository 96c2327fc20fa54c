/** A storage that is opened anew now and then: how it is opened, and that nothing is lost. */

import { expect, it } from 'vitest'
import { RenewedStorage } from '../../server/migration/renewed-storage.ts'
import { openStorage } from '../../server/storage/index.ts'

it('is made as its owner once, and opened anew as who the process is', async () => {
  const memory = openStorage('memory', { path: '' })
  const opened: string[] = []
  const open = (how: string) => async () => {
    opened.push(how)
    return { ...bound(memory), close: async () => {} }
  }
  const storage = await RenewedStorage.open(open('again'), open('first'))
  const cards = storage.openKeyval<string>('capulet.lit', 'vcard')
  for (let user = 0; user < 5; user++) await cards.set(`user${user}`, String(user).repeat(4_000_000))
  expect(opened).toEqual(['first', 'again'])
  expect(await cards.get('user0')).toHaveLength(4_000_000)
  await storage.close()
  await memory.close()
})

/** Its methods, for a driver that is put together. */
function bound(driver: ReturnType<typeof openStorage>): ReturnType<typeof openStorage> {
  return {
    name: driver.name,
    openKeyval: (...store) => driver.openKeyval(...store),
    openMap: (...store) => driver.openMap(...store),
    openArchive: (...store) => driver.openArchive(...store),
    purgeUser: (...user) => driver.purgeUser(...user),
    close: () => driver.close(),
  }
}
