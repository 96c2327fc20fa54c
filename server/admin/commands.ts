/** What can be asked of a server over the admin channel. */

import * as z from 'zod'
import type { Server } from '../server.ts'
import type { ReloadOutcome } from './answers.ts'
import type { AdminCommand } from './channel.ts'
import { delegationsOf } from './delegations.ts'
import { endSessions } from './end-sessions.ts'
import { AdminError, type AdminRequest } from './protocol.ts'
import { type ProcessStatus, statusOf } from './status.ts'

/** The process around a server. */
export interface ServerProcessView {
  readonly server: Server
  status(): ProcessStatus
  /** Reads the configuration again, as at SIGHUP. */
  reload(): Promise<ReloadOutcome>
}

const hostSchema = z.looseObject({ host: z.string().optional() })
const accountSchema = z.looseObject({
  host: z.string(),
  username: z.string(),
  reason: z.enum(['deleted', 'password']),
})

/** The commands, by name. */
export function adminCommands(process: ServerProcessView): Readonly<Record<string, AdminCommand>> {
  const { server } = process
  return {
    status: () => statusOf(server, () => process.status()),
    delegations: (request) => delegationsOf(server, parameters(request, hostSchema).host),
    reload: () => process.reload(),
    'end-sessions': (request) => {
      const { host: name, username, reason } = parameters(request, accountSchema)
      const host = server.hosts.get(name)
      if (host === undefined) return { sessions: 0 }
      const { count, gone } = endSessions(server, host, username, reason)
      gone.catch((error) => host.log.error('what a deleted account has stored may be left', { error }))
      return { sessions: count }
    },
  }
}

function parameters<S extends z.ZodType>(request: AdminRequest, schema: S): z.infer<S> {
  const { success, data } = schema.safeParse(request)
  if (!success) throw new AdminError(`what "${request.command}" was given is not understood`)
  return data
}
