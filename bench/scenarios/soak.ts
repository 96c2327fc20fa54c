// Whether memory stays what it was: as many delegated IQs as a busy hour has.
import { residentKilobytes } from '../process-figures.ts'
import { measurementOf } from './closed-loop.ts'
import { type Scenario, USUAL } from './scenario.ts'
import { IN_FLIGHT } from './traffic.ts'

const FIRST_SECONDS = 60
const PARTS = 10

/** Resident memory at the end; after the first minute, and after each tenth of the operations, in the details. */
export const soak: Scenario = {
  name: 'soak',
  title: 'memory after many delegated IQs',
  section: 'soak',
  unit: 'MB',
  usual: false,
  setup: { ...USUAL, fresh: true },
  async measure(server, load, settings) {
    const { pid } = server
    const common = { traffic: 'delegated-iq', pids: [pid], windowCpuSeconds: 0 } as const
    const shape = { payloadBytes: 0, senders: USUAL.clients, inFlight: USUAL.clients * IN_FLIGHT }
    const run = (warmUpCpuSeconds: number, windowOperations: number) =>
      load.ask('loop', { ...common, ...shape, warmUpCpuSeconds, warmUpOperations: 0, windowOperations })

    // A minute of the server's CPU, unless the whole is a trial of few operations.
    const part = Math.ceil(settings.soakOperations / PARTS)
    const seconds = Math.min(FIRST_SECONDS, settings.soakOperations / 10_000)
    await run(seconds, 1)
    const details: Record<string, number> = { 'MB after a minute': megabytes(pid) }
    let operations = 0
    let last = 0
    for (let index = 0; index < PARTS; index++) {
      const result = await run(0, part)
      operations += result.operations
      last = megabytes(pid)
      details[`MB at ${operations}`] = last
      if (index === PARTS - 1) details['µs'] = measurementOf(result).value
    }
    return { value: last, details }
  },
}

function megabytes(pid: number): number {
  return residentKilobytes(pid) / 1024
}
