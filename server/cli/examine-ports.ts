// Ports that a configuration gives to two services, or twice to one.

import {
  type Config,
  type ConfigProblem,
  coreOptions,
  kinds,
  optionProblem,
  readOption,
} from '../config/index.ts'
import type { KnownPlugins } from './known-plugins.ts'
import { parsed, servedHosts } from './reading.ts'

interface Service {
  readonly option: string
  readonly ports: readonly number[]
  readonly interfaces: readonly string[]
}

/** Every port that can not be opened because it is already taken by the same configuration. */
export function examinePorts(config: Config, known: KnownPlugins): ConfigProblem[] {
  const problems: ConfigProblem[] = []
  const seen: Service[] = []
  for (const service of services(config, known)) {
    const { option, ports, interfaces } = service
    for (const port of new Set(ports)) {
      if (port === 0) continue // the system chooses
      const tell = (message: string) =>
        problems.push(optionProblem(config, 'error', '*', option, `${option}: ${message}`))
      if (ports.filter((other) => other === port).length > 1) tell(`the port ${port} is listed twice`)
      const other = seen.find((one) => one.ports.includes(port) && overlap(one.interfaces, interfaces))
      if (other !== undefined) {
        tell(`the port ${port} is in ${other.option} as well: give one of the two services another port`)
      }
    }
    seen.push(service)
  }
  return problems
}

/** What the plugins in use listen on: each has an option NAME_ports, and NAME_interfaces. */
function* services(config: Config, known: KnownPlugins): Iterable<Service> {
  const inUse = new Set(servedHosts(config).flatMap(({ name }) => config.modulesFor(name)))
  const options = [...inUse].flatMap((name) => Object.keys(known.definitions.get(name)?.options ?? {}))
  for (const name of new Set(options.filter((option) => option.endsWith('_ports')))) {
    const service = parsed(() => ({
      option: name,
      ports: ports(config, name, known),
      interfaces: interfaces(config, name.replace(/_ports$/, ''), known),
    }))
    if (service !== undefined) yield service
  }
}

function ports(config: Config, name: string, known: KnownPlugins): number[] {
  const value = readOption(config, '*', name, known.options.get(name)!)
  return kinds.list(kinds.portNumber(), 'ports').safeParse(value).data ?? []
}

function interfaces(config: Config, service: string, known: KnownPlugins): string[] {
  const name = `${service}_interfaces`
  const spec = known.options.get(name)
  const own = spec === undefined ? undefined : readOption(config, '*', name, spec)
  if (own !== undefined) return own as string[]
  const inherited = service === 'component' ? 'local_interfaces' : 'interfaces'
  return readOption(config, '*', inherited, coreOptions[inherited])
}

/** Whether two services would listen on one address; `*` is every address of IPv4, `::` of IPv6. */
function overlap(one: readonly string[], two: readonly string[]): boolean {
  return one.some((a) => two.some((b) => a === b || covers(a, b) || covers(b, a)))
}

function covers(any: string, address: string): boolean {
  if (any === '::') return address.includes(':')
  return (any === '*' || any === '0.0.0.0') && !address.includes(':')
}
