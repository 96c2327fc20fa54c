/** What can be asked of a server over the admin channel. */

import * as z from 'zod'
import type { Server } from '../server.ts'
import type { ReloadOutcome } from './answers.ts'
import type { AdminCommand } from './channel.ts'
import {
  accountSchema,
  allDelegationsOf,
  clusterStatus,
  endSessionsEverywhere,
  tellReload,
} from './cluster-calls.ts'
import { AdminError, type AdminRequest } from './protocol.ts'
import { type ProcessStatus, statusOf } from './status.ts'

/** The process around a server. */
export interface ServerProcessView {
  readonly server: Server
  status(): ProcessStatus
  /** Reads the configuration again, as at SIGHUP. */
  reload(): Promise<ReloadOutcome>
}

/** Commands, by name. */
export type AdminCommands = Readonly<Record<string, AdminCommand>>

const hostSchema = z.looseObject({ host: z.string().optional() })
const ownSchema = z.looseObject({ own: z.array(z.string()) })

/** What can be asked of a server, or of one of the processes that are one. */
export function adminCommands(process: ServerProcessView): AdminCommands {
  const { server } = process
  return {
    status: async () => {
      const own = statusOf(server, () => process.status())
      if (server.cluster === undefined) return own
      return { ...(await own), cluster: await clusterStatus(server, server.cluster, await own) }
    },
    delegations: (request) => allDelegationsOf(server, parameters(request, hostSchema).host),
    reload: async () => {
      const outcome = await process.reload()
      if (server.cluster === undefined || !outcome.taken) return outcome
      return { ...outcome, told: tellReload(server.cluster, []) }
    },
    'end-sessions': (request) => endSessionsEverywhere(server, parameters(request, accountSchema)),
  }
}

/** What a supervisor asks of a worker besides. */
export function workerCommands(process: ServerProcessView): AdminCommands {
  return {
    'reload-worker': () => process.reload(),
    'tell-reload': (request) => {
      const { cluster } = process.server
      return { told: cluster === undefined ? [] : tellReload(cluster, parameters(request, ownSchema).own) }
    },
  }
}

function parameters<S extends z.ZodType>(request: AdminRequest, schema: S): z.infer<S> {
  const { success, data } = schema.safeParse(request)
  if (!success) throw new AdminError(`what "${request.command}" was given is not understood`)
  return data
}
