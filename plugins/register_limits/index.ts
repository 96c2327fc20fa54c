/** Who may make accounts, by address, and how often. */

import { isIP } from 'node:net'
import { definePlugin, kinds, type Module, option, optionProblem, StanzaError } from '../../server/index.ts'
import type { UserRegistering } from '../register_ibr/index.ts'
import { AddressSet, isNetwork, plainAddress, subscriberOf } from './addresses.ts'
import { Throttle } from './throttle.ts'

const addresses = () =>
  kinds.list(
    kinds
      .word('an IP address or a network such as "192.0.2.0/24"')
      .refine(isNetwork, { error: 'must be an IP address or a network such as "192.0.2.0/24"' }),
    'addresses',
  )

const options = {
  min_seconds_between_registrations: option({
    schema: kinds.period(0).optional(),
    description: 'Seconds between two accounts that are made from one address.',
  }),
  registration_throttle_max: option({
    schema: kinds.integer(0).optional(),
    description: 'Accounts that one address may make in `registration_throttle_period`.',
  }),
  registration_throttle_period: option({
    schema: kinds.period(0).optional(),
    description: 'The period of `registration_throttle_max`.',
  }),
  registration_throttle_cache_size: option({
    schema: kinds.integer(1).default(100),
    description: 'Addresses that are remembered for it.',
  }),
  blocklist_on_registration_throttle_overload: option({
    schema: kinds.flag().default(false),
    description: 'Whether an address that is forgotten with nothing left may make no accounts any more.',
  }),
  allowlist_registration_only: option({
    schema: kinds.flag().optional(),
    description: 'Whether accounts are only made from addresses of `registration_allowlist`.',
  }),
  whitelist_registration_only: option({
    schema: kinds.flag().default(false),
    description: 'Former name of `allowlist_registration_only`.',
  }),
  registration_allowlist: option({
    schema: addresses().optional(),
    description: 'Addresses and networks that no limit holds for; 127.0.0.1 and ::1 if absent.',
  }),
  registration_whitelist: option({
    schema: addresses().default(['127.0.0.1', '::1']),
    description: 'Former name of `registration_allowlist`.',
  }),
  registration_blocklist: option({
    schema: addresses().optional(),
    description: 'Addresses and networks that no accounts are made from.',
  }),
  registration_blacklist: option({
    schema: addresses().default([]),
    description: 'Former name of `registration_blocklist`.',
  }),
}
type LimitsModule = Module<typeof options>

/** Seconds, where only the number is given. */
const USUAL_PERIOD = 3600
/** Addresses that are blocked because they were at it too often. */
const MOST_BLOCKED = 10_000

export default definePlugin({
  name: 'register_limits',
  hostType: 'host',
  options,
  async check({ config, host }) {
    const has = (name: keyof typeof options) => config.has(host.name, name) || config.has('*', name)
    if (!has('registration_throttle_period') || has('registration_throttle_max')) return []
    if (has('min_seconds_between_registrations')) return []
    const message = 'limits nothing without registration_throttle_max, the accounts that may be made in it'
    return [optionProblem(config, 'warning', host.name, 'registration_throttle_period', message)]
  },
  load(module) {
    const limits = new Limits(module)
    const { cluster } = module.server
    const callName = `register_limits ${module.host.name}`
    if (cluster !== undefined) {
      module.onUnload(cluster.calls.on(callName, (address) => limits.count(address as string)))
    }
    module.hook('user-registering', (asked) => {
      const error = limits.refusalOf(asked, (address) => cluster?.calls.tellAll(callName, address))
      if (error === undefined) return undefined
      asked.allowed = false
      asked.error = error
      return true
    })
  },
})

/** The limits of one host. */
class Limits {
  private readonly module: LimitsModule
  private readonly throttle = new Throttle(Date.now)
  private readonly overloaded = new Set<string>()
  private allowed = new AddressSet([])
  private blocked = new AddressSet([])
  private revision = -1

  constructor(module: LimitsModule) {
    this.module = module
    this.throttle.onOverflow = (address, isEmpty) => {
      if (!isEmpty || !module.options.blocklist_on_registration_throttle_overload) return
      module.log.info('no accounts are made from an address any more', { from: address })
      this.overloaded.add(address)
      if (this.overloaded.size > MOST_BLOCKED) this.overloaded.delete(this.overloaded.values().next().value!)
    }
  }

  /** Why no account is made. @param counted - told of an address that has had one more */
  refusalOf({ ip }: UserRegistering, counted: (address: string) => void): StanzaError | undefined {
    this.readLists()
    const { options } = this.module
    const address = plainAddress(ip)
    // Who resets the connection behind the request would be nobody's.
    if (isIP(address) === 0) return new StanzaError('forbidden', 'It is not known where you are')
    const subscriber = subscriberOf(address)
    if (this.blocked.has(address) || this.overloaded.has(subscriber)) {
      return new StanzaError('forbidden', 'Your address may not make accounts')
    }
    if (this.allowed.has(address)) return undefined
    if (options.allowlist_registration_only ?? options.whitelist_registration_only) {
      return new StanzaError('forbidden', 'Your address is not among those that may make accounts')
    }
    counted(subscriber)
    if (this.count(subscriber)) return undefined
    return new StanzaError('policy-violation', 'Too many accounts were made from your address', 'wait')
  }

  /** Counts an attempt, here or at another process. @returns whether it is one of those that are allowed */
  count(address: string): boolean {
    const { options } = this.module
    const { min_seconds_between_registrations: pause, registration_throttle_cache_size: most } = options
    const max = options.registration_throttle_max ?? (pause === undefined ? undefined : 1)
    if (max === undefined) return true
    const period = options.registration_throttle_period ?? pause ?? USUAL_PERIOD
    return this.throttle.take(address, { max, period }, most)
  }

  private readLists(): void {
    const { options, server } = this.module
    if (this.revision === server.configRevision) return
    this.revision = server.configRevision
    this.allowed = new AddressSet(options.registration_allowlist ?? options.registration_whitelist)
    this.blocked = new AddressSet(options.registration_blocklist ?? options.registration_blacklist)
  }
}
