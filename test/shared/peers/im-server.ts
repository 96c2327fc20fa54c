// The server that people's clients are let loose on: everything for them is on, TLS is asked for, and its network can be cut.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { ServerOptions } from '../../../server/config/index.ts'
import { startServer, type TestServer, USUAL_PLUGINS } from '../server.ts'
import { TcpProxy } from '../tcp-proxy.ts'

export const HOST = 'capulet.lit'

/** What an operator enables for people, by Prosody's names. */
export const IM_PLUGINS = [
  ...USUAL_PLUGINS,
  'blocklist',
  'carbons',
  'csi_simple',
  'lastactivity',
  'mam',
  'offline',
  'private',
  'register',
  'server_contact_info',
  'smacks',
  'uptime',
  'vcard',
]

/** Everything that a language or an XML parser could stumble over. */
export const HARD_TO_SAY = `Wherefore art thou "Roméo" & <co>? ♥ 🌹 👩🏽‍🚀 漢字 שלום ']]>`

/** A server for clients, and a network that can be cut before it. */
export interface ImServer extends TestServer {
  /** The server's certificate, PEM. */
  readonly certificate: string
  /** A file that holds it. */
  readonly certificateFile: string
  /** Where clients connect whose connection is to be cut. */
  readonly network: TcpProxy
}

/** Starts one. @param users - local parts of accounts; each has the password `pw` */
export async function startImServer(users: string[], options: ServerOptions = {}): Promise<ImServer> {
  const server = await startServer(
    {
      c2s_require_encryption: true,
      modules_enabled: IM_PLUGINS,
      contact_info: { abuse: ['mailto:abuse@capulet.lit'], admin: ['xmpp:nurse@capulet.lit'] },
      virtualHosts: { [HOST]: {} },
      ...options,
    },
    users.map((user) => `${user}@${HOST}`),
  )
  const folder = mkdtempSync(join(tmpdir(), 'legate-im-server-'))
  const certificate = server.server.tlsOf(HOST)!.certificatePem
  const certificateFile = join(folder, 'server.crt')
  writeFileSync(certificateFile, certificate)
  const network = await TcpProxy.start(server.c2sPort)
  return Object.defineProperties({} as ImServer, {
    ...Object.getOwnPropertyDescriptors(server),
    ...Object.getOwnPropertyDescriptors({
      certificate,
      certificateFile,
      network,
      async stop() {
        await network.close()
        await server.stop()
        rmSync(folder, { recursive: true, force: true })
      },
    }),
  })
}
