/**
 * One process of a cluster that counts, and decides, for all of them: each account and each entity has one, as long as
 * that lives. Redis knows which, so that two can not take each other's place; while it is away, nobody is asked.
 */

import { type Host, StanzaError } from '../../server/index.ts'

/** Accounts and entities are spread over so many parts, each with one process. */
const PARTS = 256
/** Milliseconds that another process has to answer. */
const ASK_MS = 5000

/**
 * Asks the process that decides.
 *
 * @param key - of the account or entity
 * @param call - the name under which the others ask
 * @param here - decides, where it is this process
 * @throws StanzaError (as a rejection) `resource-constraint`, of type `wait`, if it can not be asked
 */
export async function askKeeper<D, A>(
  host: Host,
  key: string,
  call: string,
  question: D,
  here: (question: D) => A,
): Promise<A> {
  const cluster = host.server.cluster!
  const domain = `${host.name}/delegation`
  // If it dies just now, another one takes its place.
  for (let attempt = 0; attempt < 2; attempt++) {
    let keeper: string
    try {
      const members = [...cluster.members.keys()]
      keeper = await cluster.registry.claimBucket(domain, partOf(key), cluster.self.id, members)
    } catch (error) {
      host.log.debug('who counts requests for delegations can not be found out', { error })
      break
    }
    if (keeper === cluster.self.id) return here(question)
    const answers = await cluster.calls.ask([keeper], call, question, ASK_MS)
    const answer = answers.get(keeper) as A | null | undefined
    if (answer !== undefined && answer !== null) return answer
    if (cluster.members.has(keeper)) break
  }
  throw new StanzaError('resource-constraint', 'Requests can not be counted now; try again later', 'wait')
}

/** FNV-1a. */
function partOf(key: string): number {
  let hash = 0x811c9dc5
  for (let at = 0; at < key.length; at++) hash = Math.imul(hash ^ key.charCodeAt(at), 0x01000193)
  return (hash >>> 0) % PARTS
}
