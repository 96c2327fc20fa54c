// The server ends the sessions of accounts that another process has deleted.

import { afterEach, expect, it } from 'vitest'
import { watchDeletedAccounts } from '../../server/cli/deleted-accounts.ts'
import { login } from '../shared/client.ts'
import { startServer, type TestServer } from '../shared/server.ts'

let test: TestServer | undefined

afterEach(async () => {
  await test?.stop()
})

it('ends the sessions of a deleted account, purges what they stored since, and leaves the others', async () => {
  test = await startServer({ virtualHosts: { 'capulet.lit': {} } }, [
    'juliet@capulet.lit',
    'nurse@capulet.lit',
  ])
  watchDeletedAccounts(test.server, 0.3)
  const juliet = await login(test.c2sPort, 'juliet@capulet.lit/balcony')
  const nurse = await login(test.c2sPort, 'nurse@capulet.lit/kitchen')
  await nurse.settled()
  const { storage, hosts } = test.server
  await hosts.get('capulet.lit')!.users!.delete('juliet')
  const later = storage.openKeyval<string>('capulet.lit', 'anything')
  await later.set('juliet', 'stored after the deletion')
  expect(await juliet.streamError()).toMatchObject({
    condition: 'not-authorized',
    text: 'The account was deleted',
  })
  await juliet.close()
  await test.logged('its sessions end')
  await nurse.settled()
  await expect.poll(() => later.get('juliet')).toBeUndefined()
  await nurse.close()
})

it('ends the sessions of an account that is disabled, and leaves what it has', async () => {
  test = await startServer({ virtualHosts: { 'capulet.lit': {} } }, ['juliet@capulet.lit'])
  watchDeletedAccounts(test.server, 0.3)
  const juliet = await login(test.c2sPort, 'juliet@capulet.lit/balcony')
  const { storage, hosts } = test.server
  const stored = storage.openKeyval<string>('capulet.lit', 'anything')
  await stored.set('juliet', 'hers')
  await hosts.get('capulet.lit')!.users!.disable('juliet', { reason: 'ibr', when: 1 })
  expect((await juliet.streamError()).text).toBe('The account is disabled')
  await juliet.close()
  expect(await stored.get('juliet')).toBe('hers')
})
