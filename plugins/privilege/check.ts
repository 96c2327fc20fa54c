/** What `legate check` says of privileged entities. */

import { type ConfigProblem, optionProblem, type PluginCheck, readOption } from '../../server/index.ts'
import { type Privileges, privilegeOptions, readTable } from './table.ts'

/**
 * Every mistake in a host's `privileged_entities`.
 *
 * @param check - the configuration, the host, and a way to ask for accounts
 */
export async function checkPrivileges(check: PluginCheck): Promise<ConfigProblem[]> {
  const { config, host } = check
  if (host.type === 'component') return []
  const name = 'privileged_entities'
  const table = readOption(config, host.name, name, privilegeOptions.privileged_entities)
  const { privileges, problems } = readTable(table, host.name)
  const sentences = [...problems]
  for (const entry of privileges.values()) {
    const fault = await entityFault(check, entry)
    if (fault !== undefined) sentences.push(`${name}["${entry.jid}"] of ${host.name}: ${fault}`)
    if (usesRosters(entry) && !config.modulesFor(host.name).includes('roster')) {
      sentences.push(
        `${name}["${entry.jid}"] of ${host.name}: ${host.name} has no rosters; add "roster" to its modules_enabled`,
      )
    }
  }
  return sentences.map((sentence) => optionProblem(config, 'error', host.name, name, sentence))
}

function usesRosters({ roster }: Privileges): boolean {
  return roster !== 'none'
}

/** What keeps an entity from ever being told. */
async function entityFault(
  { config, accountExists }: PluginCheck,
  { entity, jid }: Privileges,
): Promise<string | undefined> {
  const host = config.hosts.find(({ name }) => name === entity.domain)
  if (host === undefined) {
    return `no host or component here is called ${entity.domain}; add: Component "${entity.domain}"`
  }
  const enabled = config.modulesFor(host.name).includes('privilege')
  if (host.type === 'component') {
    if (entity.local !== undefined) {
      return `${jid} is an address of a component; name the component: ${host.name}`
    }
    if (enabled) return undefined
    return (
      `the component ${host.name} does not enable the plugin, so it would never be told; ` +
      `add to its section: modules_enabled = { "privilege" }`
    )
  }
  if (entity.local === undefined) return `${jid} is a VirtualHost; name a component or an account`
  if (!enabled) {
    return (
      `the host ${host.name} of the account ${jid} does not enable the plugin, so it would never be told; ` +
      `add to its section: modules_enabled = { "privilege" }`
    )
  }
  if (!(await accountExists(host.name, entity.local))) {
    return `there is no account ${jid}; add it with: legate adduser ${jid}`
  }
  return undefined
}
