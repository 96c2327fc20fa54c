// The demo, as a person runs it: `npm run demo` after a build.

import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'
import { describePeer } from '../shared/require.ts'

const DEMO = fileURLToPath(new URL('../../dist/examples/demo.js', import.meta.url))

interface Run {
  code: number | null
  stdout: string
  stderr: string
}

function runDemo(environment: Record<string, string>): Promise<Run> {
  const child = spawn(process.execPath, [DEMO], { env: { ...process.env, ...environment } })
  const run: Run = { code: null, stdout: '', stderr: '' }
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    run.stdout += text
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    run.stderr += text
  })
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code) => resolve({ ...run, code }))
  })
}

const missing = existsSync(DEMO) ? undefined : 'dist/examples/demo.js is not there (npm run build)'

describePeer('the demo', missing, () => {
  it('shows the whole exchange, twice at once, and leaves nothing behind', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'legate-demo-test-'))
    try {
      const runs = await Promise.all([runDemo({ TMPDIR: folder }), runDemo({ TMPDIR: folder })])
      for (const { code, stdout, stderr } of runs) {
        expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
        // The order in which a request goes around.
        const stations = [
          /Legate ──▶ notes\.capulet\.lit[^(]*<message[^(]*<delegated namespace='urn:example:notes'\/>/,
          /TLSv1\.3/,
          /SCRAM-SHA-1/,
          /\(1\) juliet ──▶ Legate[^(]*<iq type='set' id='keep-1'>/,
          /\(2\) Legate ──▶ notes\.capulet\.lit[^(]*<forwarded [^(]*from='juliet@capulet\.lit\/balcony'/,
          /\(3\) notes\.capulet\.lit ──▶ Legate[^(]*<forwarded [^(]*<note [^(]*id='1'\/>/,
          /\(4\) Legate ──▶ juliet[^(]*<iq type='result' id='keep-1'/,
          /<note id='1'>Ask the nurse about the ladder<\/note>/,
          /\(2\) Legate ──▶ juliet[^(]*<service-unavailable /,
        ]
        let rest = stdout
        for (const station of stations) {
          expect(rest).toMatch(station)
          const found = station.exec(rest)!
          rest = rest.slice(found.index + found[0].length)
        }
        // No colours where it is not a terminal that reads.
        expect(stdout).not.toContain('\u001b')
        const widest = Math.max(...stdout.split('\n').map((line) => line.length))
        expect(widest).toBeLessThanOrEqual(100)
      }
      expect(readdirSync(folder)).toEqual([])
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  })

  it('says why it can not be shown, and fails', async () => {
    const { code, stdout } = await runDemo({ TMPDIR: join(tmpdir(), 'legate-no-such-folder') })
    expect(code).toBe(1)
    expect(stdout).toContain('✗ ENOENT')
  })
})
