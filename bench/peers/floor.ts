// The floor as a peer: see ../floor.ts.
import { extname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { startServer } from '../../test/shared/peers/process.ts'
import { retryPorts } from '../../test/shared/ports.ts'
import type { BenchPeer } from './peer.ts'

const script = fileURLToPath(new URL(`../floor${extname(import.meta.url)}`, import.meta.url))

/** A relay in Node that does no XML. */
export const floor: BenchPeer = {
  name: 'floor',
  title: () => 'floor (a relay, no XML)',
  available: async () => undefined,
  lacks: { 'mam-page': 'a relay keeps no archive', 'mam-page-1': 'a relay keeps no archive' },
  start: (work) =>
    retryPorts(2, async ([c2sPort, componentPort]) => {
      const server = await startServer({
        name: 'the floor',
        command: [
          ...[...work.launcher, process.execPath, script],
          ...['--c2s', String(c2sPort), '--component', String(componentPort)],
          ...['--key', work.tls.key, '--certificate', work.tls.certificate],
        ],
        ports: [c2sPort!, componentPort!],
      })
      return { ...server, c2sPort: c2sPort!, componentPort: componentPort! }
    }),
}
