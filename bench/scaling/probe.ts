// Loaded into a server that is measured (node --expose-gc --import …): on SIGUSR2 it collects garbage, and writes what
// memory is used then into the file that LEGATE_SCALING_PROBE names.
import { renameSync, writeFileSync } from 'node:fs'
import { prepareJid, rememberedJids } from '../../server/jid.ts'

/** JIDs that a process remembers at most. */
const REMEMBERED = 20_000

const file = process.env['LEGATE_SCALING_PROBE']
let filled = 0

/** What is remembered of JIDs grows and shrinks by megabytes: always the same is remembered when it is looked. */
function fillJids(): void {
  const enough = filled + REMEMBERED
  while (filled < enough || rememberedJids() < REMEMBERED) {
    prepareJid(`x${String(filled++).padStart(8, '0')}@capulet.lit/bench`)
  }
}

process.on('SIGUSR2', () => {
  if (file === undefined) return
  fillJids()
  for (let i = 0; i < 2; i++) globalThis.gc?.()
  // Whole or not at all.
  writeFileSync(`${file}.new`, JSON.stringify(process.memoryUsage()))
  renameSync(`${file}.new`, file)
})
