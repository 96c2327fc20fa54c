/** Software version (XEP-0092). */

import { existsSync, readFileSync } from 'node:fs'
import { type as osType } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { definePlugin, kinds, NS_VERSION, option, reply, xml } from '../server/index.ts'

/** The version in the nearest package.json above; this file may be in `plugins/` or in `dist/plugins/`. */
export function packageVersion(from: string = fileURLToPath(import.meta.url)): string | undefined {
  for (let folder = dirname(from); ; folder = dirname(folder)) {
    const file = join(folder, 'package.json')
    if (existsSync(file)) return (JSON.parse(readFileSync(file, 'utf8')) as { version?: string }).version
    if (dirname(folder) === folder) return undefined
  }
}

export default definePlugin({
  name: 'version',
  options: {
    hide_os_type: option({
      schema: kinds.flag().default(true),
      description: 'Whether the name of the operating system is kept from those who ask for the version.',
    }),
  },
  load(module) {
    module.addFeature(NS_VERSION)
    const version = packageVersion()
    module.hook(`iq-get/host/${NS_VERSION}:query`, ({ origin, stanza }) => {
      const query = xml('query', { xmlns: NS_VERSION }, xml('name', {}, 'Legate'))
      // XEP-0092 §2: the version is not optional.
      query.append(xml('version', {}, version ?? 'unknown'))
      if (!module.options.hide_os_type) query.append(xml('os', {}, osType()))
      origin.send(reply(stanza, query))
      return true
    })
  },
})
