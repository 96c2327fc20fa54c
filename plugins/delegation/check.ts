/** What `legate check` says of delegations (C1, C3, C5). */

import {
  type ConfigProblem,
  delegationOptions,
  optionProblem,
  type PluginCheck,
  readOption,
} from '../../server/index.ts'
import { type Delegation, readTable } from './table.ts'

/**
 * Every mistake in a host's `delegations`.
 *
 * @param check - the configuration, the host, and a way to ask for accounts
 */
export async function checkDelegations(check: PluginCheck): Promise<ConfigProblem[]> {
  const { config, host } = check
  if (host.type === 'component') return []
  const name = 'delegations'
  const table = readOption(config, host.name, name, delegationOptions.delegations)
  const timeout = readOption(config, host.name, 'delegation_timeout', delegationOptions.delegation_timeout)
  const compat = readOption(config, host.name, 'delegation_compat', delegationOptions.delegation_compat)
  const { delegations, problems } = readTable(table, host.name, timeout, compat)
  const sentences = [...problems]
  for (const delegation of delegations.values()) {
    const fault = await managerFault(check, delegation)
    if (fault !== undefined) sentences.push(`${name}["${delegation.namespace}"] of ${host.name}: ${fault}`)
  }
  return sentences.map((sentence) => optionProblem(config, 'error', host.name, name, sentence))
}

/** C5: what keeps a manager from ever being told. */
async function managerFault(
  { config, accountExists }: PluginCheck,
  { manager, jid }: Delegation,
): Promise<string | undefined> {
  const host = config.hosts.find(({ name }) => name === manager.domain)
  if (host === undefined) {
    return `no host or component here is called ${manager.domain}; add: Component "${manager.domain}"`
  }
  if (host.type === 'component') {
    if (manager.local !== undefined)
      return `${jid} is an address of a component; name the component: ${host.name}`
    if (!config.modulesFor(host.name).includes('delegation')) {
      return (
        `the component ${host.name} does not enable the plugin, so it would never be told; ` +
        `add to its section: modules_enabled = { "delegation" }`
      )
    }
    return undefined
  }
  if (manager.local === undefined)
    return `${jid} is a VirtualHost; name a component or an account as the manager`
  if (!config.modulesFor(host.name).includes('delegation')) {
    return (
      `the host ${host.name} of the account ${jid} does not enable the plugin, so it would never be told; ` +
      `add to its section: modules_enabled = { "delegation" }`
    )
  }
  if (!(await accountExists(host.name, manager.local))) {
    return `there is no account ${manager.local}@${host.name}; add it with: legate adduser ${manager.local}@${host.name}`
  }
  return undefined
}
