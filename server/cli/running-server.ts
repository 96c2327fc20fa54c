// Asks the server that runs with a configuration, over its admin channel.

import type * as z from 'zod'
import { ask, NobodyThere, type Question } from '../admin/ask.ts'
import type { AdminAnswer } from '../admin/protocol.ts'
import { type HeldPath, holdPath, socketPathOf } from '../admin/socket-path.ts'
import type { Config } from '../config/index.ts'
import { escapeUnsafe } from '../log-text.ts'
import { dataPathOf } from '../server.ts'
import { CommandError } from './failure.ts'

/** Milliseconds for an answer that the server has at hand. */
const TIMEOUT = 10_000

/** No server runs with the data folder. */
export class NotRunning extends CommandError {}

/**
 * Asks the running server.
 *
 * @param schema - of its answer
 * @param timeout - milliseconds
 * @throws NotRunning, or a CommandError that says what else is in the way or what the server refuses
 */
export async function askServer<S extends z.ZodType>(
  config: Config,
  question: Question,
  schema: S,
  timeout = TIMEOUT,
): Promise<z.infer<S>> {
  const folder = dataPathOf(config)
  const { ok, result, error, process } = await answerOf(folder, question, timeout)
  if (!ok) throw new CommandError(escapeUnsafe(error ?? 'the server refuses, and does not say why'))
  const read = schema.safeParse(result)
  if (read.success) return read.data
  throw new CommandError(
    `what the server (process ${process}) answers is not understood: it may be of another release than this ` +
      'command; restart it, or use the command of its release',
  )
}

async function answerOf(folder: string, question: Question, timeout: number): Promise<AdminAnswer> {
  let held: HeldPath | undefined
  try {
    held = holdPath(socketPathOf(folder))
    return await ask(held.path, question, timeout)
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    if (error instanceof NobodyThere || code === 'ENOENT' || code === 'ENOTDIR') {
      throw new NotRunning(
        `no server runs with the data folder ${folder}; if one runs with another configuration, name that with ` +
          '--config; to start one: legate start',
      )
    }
    if (code === 'EACCES' || code === 'EPERM') {
      throw new CommandError(
        `the server with the data folder ${folder} is another user's: use this command as the owner of that folder, ` +
          'or as root',
      )
    }
    throw new CommandError(`the server with the data folder ${folder} could not be asked: ${message}`)
  } finally {
    held?.release()
  }
}
