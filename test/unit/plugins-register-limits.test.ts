/** Limits on making accounts: addresses, how often, and what `legate check` says. */

import { describe, expect, it } from 'vitest'
import { AddressSet, isNetwork, plainAddress, subscriberOf } from '../../plugins/register_limits/addresses.ts'
import { Throttle } from '../../plugins/register_limits/throttle.ts'
import { configFromObject, parseOption } from '../../server/config/index.ts'
import type { PluginDefinition } from '../../server/module.ts'

const HOST = 'capulet.lit'

describe('addresses', () => {
  it.each([
    ['192.0.2.1', true],
    ['192.0.2.0/24', true],
    ['2001:db8::/32', true],
    ['192.0.2.0/33', false],
    ['192.0.2.0/', false],
    ['192.0.2.0/24/8', false],
    ['example.org', false],
  ])('%s is a network: %s', (text, is) => expect(isNetwork(text)).toBe(is))

  it('are found in networks', () => {
    const set = new AddressSet(['192.0.2.0/24', '2001:db8::/32', '::1'])
    for (const address of ['192.0.2.77', '2001:db8:1::2', '::1']) expect(set.has(address)).toBe(true)
    for (const address of ['192.0.3.1', '2001:db9::1', '::2', 'unknown']) expect(set.has(address)).toBe(false)
  })

  it('of IPv4 are themselves by IPv6', () => {
    expect(plainAddress('::ffff:192.0.2.1')).toBe('192.0.2.1')
    expect(plainAddress('::1')).toBe('::1')
  })

  it('are the same over each network card', () => {
    expect(plainAddress('fe80::1%eth0')).toBe('fe80::1')
    expect(new AddressSet(['fe80::/10']).has(plainAddress('fe80::1%eth0'))).toBe(true)
  })

  it.each([
    ['192.0.2.1', '192.0.2.1'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
    ['2001:db8::5', '2001:db8:0:0::/64'],
    ['2001:0db8:0:0::7', '2001:db8:0:0::/64'],
    ['::1', '0:0:0:0::/64'],
    ['fe80::1%eth0', 'fe80:0:0:0::/64'],
  ])('%s belongs to %s', (address, subscriber) => expect(subscriberOf(address)).toBe(subscriber))
})

describe('how often', () => {
  const rate = { max: 2, period: 100 }

  it('so many times in a period', () => {
    let now = 0
    const throttle = new Throttle(() => now)
    const take = () => throttle.take('192.0.2.1', rate, 10)
    expect([take(), take(), take()]).toEqual([true, true, false])
    now += 50_000
    expect([take(), take()]).toEqual([true, false])
    now += 1_000_000
    expect([take(), take(), take()]).toEqual([true, true, false])
  })

  it('the address that was seen first is forgotten first, and it is told whether it had anything left', () => {
    const throttle = new Throttle(() => 0)
    const forgotten: [string, boolean][] = []
    throttle.onOverflow = (address, isEmpty) => forgotten.push([address, isEmpty])
    for (const address of ['one', 'one', 'two', 'three', 'four']) throttle.take(address, rate, 2)
    expect(forgotten).toEqual([
      ['one', true],
      ['two', false],
    ])
  })
})

describe('what is said of the configuration', () => {
  const problems = async (plugin: string, options: object) => {
    const definition = (await import(`../../plugins/${plugin}/index.ts`)).default as PluginDefinition
    const config = configFromObject({ virtualHosts: { [HOST]: {} }, ...options })
    const [host] = config.hosts
    const found = await definition.check!({ config, host: host!, accountExists: async () => true })
    return found.map(({ severity, option }) => `${severity} ${option}`)
  }

  it.each([
    [{}, []],
    [{ allow_registration: true }, ['warning allow_registration']],
    [{ allow_registration: true, min_seconds_between_registrations: 60 }, []],
    [{ allow_registration: true, registration_invite_only: true }, ['warning allow_registration']],
    [
      { allow_registration: true, registration_throttle_max: 1, modules_enabled: ['invites_register'] },
      ['warning allow_registration'],
    ],
  ])('%j', async (options, told) => expect(await problems('register_ibr', options)).toEqual(told))

  it('a period alone limits nothing', async () => {
    const found = await problems('register_limits', { registration_throttle_period: 60 })
    expect(found).toEqual(['warning registration_throttle_period'])
  })

  it('fields and addresses that are none are named', async () => {
    const { options } = (await import('../../plugins/register_ibr/index.ts')).default
    const fields = parseOption(
      'additional_registration_fields',
      ['email+', 'shoe'],
      options!.additional_registration_fields,
    )
    expect(fields).toMatchObject({ problems: [expect.stringContaining('must be one of nick,')] })
    const { options: limits } = (await import('../../plugins/register_limits/index.ts')).default
    const list = parseOption('registration_blocklist', ['192.0.2.0/99'], limits!.registration_blocklist)
    expect(list).toMatchObject({ problems: [expect.stringContaining('must be an IP address')] })
  })
})
