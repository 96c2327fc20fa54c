/** Sets of IP addresses and networks, as `registration_allowlist` has them. */

import { BlockList, isIP } from 'node:net'

/** What a text names: an address, or a network as `192.0.2.0/24`; undefined if it is neither. */
function readNetwork(text: string): { address: string; bits: number; family: 'ipv4' | 'ipv6' } | undefined {
  const [address = '', written, more] = text.split('/')
  const version = isIP(address)
  if (version === 0 || more !== undefined) return undefined
  const width = version === 4 ? 32 : 128
  if (written !== undefined && !/^\d{1,3}$/.test(written)) return undefined
  const bits = written === undefined ? width : Number(written)
  return bits > width ? undefined : { address, bits, family: version === 4 ? 'ipv4' : 'ipv6' }
}

/** Whether a text is an address or a network. */
export function isNetwork(text: string): boolean {
  return readNetwork(text) !== undefined
}

/** Addresses and networks that an address may be in. */
export class AddressSet {
  private readonly networks = new BlockList()

  constructor(texts: Iterable<string>) {
    for (const text of texts) {
      const network = readNetwork(text)
      if (network !== undefined) this.networks.addSubnet(network.address, network.bits, network.family)
    }
  }

  has(address: string): boolean {
    return this.networks.check(address, address.includes(':') ? 'ipv6' : 'ipv4')
  }
}

/** An address as it is compared: an IPv4 one that has come by IPv6 is an IPv4 one, and no network card is named. */
export function plainAddress(address: string): string {
  const [, mapped] = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address) ?? []
  return mapped ?? address.replace(/%.*$/, '')
}

/** Whose an address is: who has one of IPv6 mostly has 2⁶⁴ of them (RFC 6177). */
export function subscriberOf(address: string): string {
  if (!address.includes(':')) return address
  const [head = '', tail] = address.replace(/%.*$/, '').split('::')
  const first = head === '' ? [] : head.split(':')
  const last = tail === undefined || tail === '' ? [] : tail.split(':')
  const groups =
    tail === undefined ? first : [...first, ...Array(8 - first.length - last.length).fill('0'), ...last]
  return `${groups
    .slice(0, 4)
    .map((group) => Number.parseInt(group, 16).toString(16))
    .join(':')}::/64`
}
