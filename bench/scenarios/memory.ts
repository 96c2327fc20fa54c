// Memory for each session: logged in, with a resource and presence, doing nothing, or waiting for one answer.
import { setTimeout as sleep } from 'node:timers/promises'
import type { Load } from '../load/requests.ts'
import type { RunningPeer } from '../peers/peer.ts'
import { residentKilobytes } from '../process-figures.ts'
import { type Measurement, type RunSettings, type Scenario, spareAccounts, USUAL } from './scenario.ts'

/** The first part of the sessions fills pools and compiles code; growth counts from there on. */
const UNCOUNTED_SHARE = 0.25
const STEPS = 3

/** Idle sessions and waiting ones, over TCP and TLS. */
export const MEMORY_SCENARIOS: readonly Scenario[] = [false, true].flatMap((tls) =>
  [false, true].map((pending): Scenario => {
    return {
      name: `idle${pending ? '-pending' : ''}${tls ? '-tls' : ''}`,
      title: `idle session${pending ? ', 1 request pending' : ''}${tls ? ', TLS' : ''}`,
      section: 'memory',
      unit: 'kB',
      usual: true,
      // A component that is asked needs a setup with clients: one, which does nothing.
      setup: { ...USUAL, tls, clients: pending ? 1 : 0, roster: false, fresh: true },
      measure: (server, load, settings) => growth(server, load, settings, pending),
    }
  }),
)

/** Growth of resident memory over the sessions. */
async function growth(
  server: RunningPeer,
  load: Load,
  settings: RunSettings,
  pending: boolean,
): Promise<Measurement> {
  const details: Record<string, number> = {}
  const accounts = spareAccounts(settings.sessions)
  const base = Math.floor(settings.sessions * UNCOUNTED_SHARE)
  const step = Math.floor((settings.sessions - base) / STEPS)
  let open = 0
  let first = 0
  let last = 0
  for (let index = 0; index <= STEPS; index++) {
    const count = index === 0 ? base : step
    await load.ask('sessions', { count, accounts })
    open += count
    // Servers give up waiting some time: requests are made anew for each step, and wait as long as it takes.
    if (pending) await load.ask('hold', null)
    last = await settledKilobytes(server.pid, settings.settleSeconds)
    if (pending) await load.ask('release', null)
    if (index === 0) first = last
    details[`kB at ${open}`] = last
  }
  return { value: (last - first) / (open - base), details }
}

const STILL_POLLS = 6
const STILL_SHARE = 0.002
const LIMIT_POLLS = 40

/** Resident memory when it has hardly changed for so many seconds, or after seven times as long. */
async function settledKilobytes(pid: number, settleSeconds: number): Promise<number> {
  let reference = residentKilobytes(pid)
  let still = 0
  for (let poll = 0; poll < LIMIT_POLLS && still < STILL_POLLS; poll++) {
    await sleep((settleSeconds * 1000) / STILL_POLLS)
    const now = residentKilobytes(pid)
    if (Math.abs(now - reference) <= reference * STILL_SHARE) {
      still++
    } else {
      still = 0
      reference = now
    }
  }
  return residentKilobytes(pid)
}
