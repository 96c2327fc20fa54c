// Memory for each idle session: logged in, with a resource and presence, doing nothing.
import { setTimeout as sleep } from 'node:timers/promises'
import { residentKilobytes } from '../process-figures.ts'
import type { Scenario } from './scenario.ts'

/** The first part of the sessions fills pools and compiles code; growth counts from there on. */
const UNCOUNTED_SHARE = 0.25
const STEPS = 3

/** Growth of resident memory over the sessions. */
export const idleSession: Scenario = {
  name: 'idle',
  title: 'idle session',
  unit: 'kB',
  freshServer: true,
  async measure(server, load, settings) {
    const details: Record<string, number> = {}
    const base = Math.floor(settings.sessions * UNCOUNTED_SHARE)
    const step = Math.floor((settings.sessions - base) / STEPS)
    let open = 0
    let first = 0
    let last = 0
    for (let index = 0; index <= STEPS; index++) {
      const count = index === 0 ? base : step
      const { c2sPort } = server
      await load.ask('sessions', { c2sPort, first: open, count, accounts: settings.accounts })
      open += count
      last = await settledKilobytes(server.pid)
      if (index === 0) first = last
      details[`kB at ${open}`] = last
    }
    return { value: (last - first) / (open - base), details }
  },
}

const POLL_MS = 250
const STILL_POLLS = 6
const STILL_SHARE = 0.002
const LIMIT_POLLS = 40

/** Resident memory when it has hardly changed for one and a half seconds, or after ten. */
async function settledKilobytes(pid: number): Promise<number> {
  let reference = residentKilobytes(pid)
  let still = 0
  for (let poll = 0; poll < LIMIT_POLLS && still < STILL_POLLS; poll++) {
    await sleep(POLL_MS)
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
