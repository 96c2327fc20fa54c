/** Whether the accounts of a grant are still those that made it: a name may be deleted, and given to another (U2). */

import { coreOptions, prepareJid, type Server } from '../../server/index.ts'

/**
 * When an account was made.
 *
 * @returns Unix time in seconds; 0 where somebody else knows the accounts; undefined if there is no such account
 */
export async function accountCreated(
  server: Server,
  domain: string,
  username: string,
): Promise<number | undefined> {
  if (server.hosts.get(domain)?.users === undefined) return undefined
  const authentication = String(server.readOption(domain, 'authentication', coreOptions.authentication))
  if (!authentication.startsWith('internal_')) return 0
  const accounts = server.storage.openKeyval<{ created: number }>(domain, 'accounts')
  return (await accounts.get(username))?.created
}

/** The same of the account that a manager is; 0 for addresses of a component, which the configuration names. */
export function managerCreated(server: Server, jid: string): Promise<number | undefined> | 0 {
  const { local, domain } = prepareJid(jid) ?? {}
  if (local === undefined || domain === undefined) return 0
  return server.hosts.get(domain)?.hostType === 'component' ? 0 : accountCreated(server, domain, local)
}
