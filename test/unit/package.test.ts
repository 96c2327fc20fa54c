/** What would be published. */

import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'

const root = fileURLToPath(new URL('../../', import.meta.url))

it('the package has no accounts, keys or tests in it, whatever the examples have left behind', () => {
  const data = `${root}examples/data`
  const mine = !existsSync(data)
  mkdirSync(data, { recursive: true })
  const left = `${data}/left-behind-by-a-test.key`
  writeFileSync(left, '')
  try {
    const listing = execFileSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], {
      cwd: root,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    const [{ files }] = JSON.parse(listing) as [{ files: { path: string }[] }]
    const paths = files.map(({ path }) => path)
    expect(paths).toContain('examples/prosody.cfg.lua')
    expect(paths).toContain('dist/server/cli/main.js')
    expect(paths).toContain('dist/plugins/delegation/index.js')
    expect(paths).toContain('docs/redis-keys.md')
    expect(paths.filter((path) => /(^|\/)(data|test|bench)\/|\.(key|mdb|crt)$/.test(path))).toEqual([])
  } finally {
    rmSync(left)
    if (mine) rmSync(data, { recursive: true })
  }
})
