// A process dies: who learns of which session that it is gone, and when.
import { setTimeout as sleep } from 'node:timers/promises'
import { contactsOf, type Population, userOf } from './population.ts'

/** What was heard of the end of a process. */
export interface Loss {
  /** Contacts that have to hear of a session, counted for each session. */
  readonly expected: number
  readonly heard: number
  /** Milliseconds from the end until the first and the last of them. */
  readonly first: number
  readonly last: number
}

const POLL_MS = 250

/** Kills a process, and waits until nothing has been heard for some milliseconds, or everything was. */
export async function loseProcess(
  population: Population,
  place: number,
  contacts: number,
  kill: () => void,
  quietMs: number,
): Promise<Loss> {
  const { clients, places } = population
  const missing = new Set<string>()
  for (const account of population.at(place)) {
    for (const contact of contactsOf(account, clients.length, contacts)) {
      if (clients[contact] !== undefined && places[contact] !== place) {
        missing.add(`${userOf(account)} ${contact}`)
      }
    }
  }
  const expected = missing.size
  let begin = 0
  let first = 0
  let last = 0
  population.listen((account, stanza) => {
    if (!stanza.includes("type='unavailable'")) return
    const user = /from='([^@']+)@/.exec(stanza)?.[1]
    if (!missing.delete(`${user} ${account}`)) return
    last = performance.now() - begin
    if (first === 0) first = last
  })
  begin = performance.now()
  kill()
  while (missing.size > 0 && performance.now() - begin - last < quietMs) await sleep(POLL_MS)
  return { expected, heard: expected - missing.size, first, last }
}
