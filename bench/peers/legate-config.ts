// The configuration that Legate is measured with. As Prosody here, it loads `offline` unasked: each login looks for
// messages that wait. (ejabberd has no module for that here.)
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { configText, type LuaOptions } from '../../test/shared/peers/prosody-config.ts'
import { COMPONENT, HOST, SECRET } from '../load/stanzas.ts'
import { PROJECT } from '../project.ts'
import type { BenchWork } from './peer.ts'

/** Legate's command, as `npm run build` makes it. */
export const CLI = join(PROJECT, 'dist/server/cli/main.js')

/**
 * Writes prosody.cfg.lua.
 * @param directory the data folder, in which it is written
 * @param further global options, before which the usual ones stand back
 * @returns the file
 */
export async function writeConfig(
  work: BenchWork,
  directory: string,
  [c2sPort, componentPort]: readonly [number, number],
  further: LuaOptions = {},
): Promise<string> {
  const file = join(directory, 'prosody.cfg.lua')
  const text = configText({
    globals: {
      data_path: directory,
      log: { warn: '*console' },
      modules_enabled: [
        ...['tls', 'roster', 'saslauth', 'disco', 'ping', 'presence', 'message', 'iq', 'delegation'],
        ...(work.archive === true ? ['mam'] : []),
      ],
      modules_disabled: ['s2s'],
      c2s_require_encryption: false,
      allow_unencrypted_plain_auth: true,
      authentication: 'internal_hashed',
      storage: 'internal',
      limits: {},
      // Idle sessions share few accounts.
      max_resources: 1000,
      interfaces: ['127.0.0.1'],
      component_interfaces: ['127.0.0.1'],
      c2s_ports: [c2sPort],
      component_ports: [componentPort],
      ssl: work.tls,
      ...further,
    },
    hosts: {
      [HOST]: { delegations: Object.fromEntries(work.namespaces.map((name) => [name, { jid: COMPONENT }])) },
    },
    components: { [COMPONENT]: { secret: SECRET, options: { modules_enabled: ['delegation'] } } },
  })
  await writeFile(file, text)
  return file
}
