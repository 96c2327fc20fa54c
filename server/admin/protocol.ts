/**
 * What is said over the admin channel: one request and one answer, each a line of JSON.
 *
 * `{"legate":1,"command":"delegations","host":"capulet.lit"}`
 * `{"legate":1,"process":4711,"ok":true,"result":[…]}` or `{"legate":1,"process":4711,"ok":false,"error":"…"}`
 */

import * as z from 'zod'

/** Grows when an older command and a newer server, or the other way round, would misunderstand each other. */
export const PROTOCOL_VERSION = 1

/** The socket, in the data folder. */
export const SOCKET_NAME = 'legate.sock'

/** Bytes; the longest request is two JIDs and a few words. */
export const MOST_REQUEST_BYTES = 16_384

/** Bytes that a command reads of an answer: thousands of delegations fit. */
export const MOST_ANSWER_BYTES = 64 * 1024 * 1024

const requestSchema = z.looseObject({ legate: z.number(), command: z.string() })

/** A request; what else is in it is the command's. */
export type AdminRequest = z.infer<typeof requestSchema>

export const answerSchema = z.object({
  legate: z.number(),
  process: z.number(),
  ok: z.boolean(),
  result: z.unknown().optional(),
  error: z.string().optional(),
})

/** An answer; `result` if it is `ok`, else `error`. */
export type AdminAnswer = z.infer<typeof answerSchema>

/** A request that can not be done, with a sentence for the person who made it. */
export class AdminError extends Error {
  override readonly name = 'AdminError'
}

/** @throws AdminError if it is no request of this version */
export function readRequest(line: string): AdminRequest {
  let value: unknown
  try {
    value = JSON.parse(line)
  } catch {
    throw new AdminError('this is no JSON; a request is one line, such as {"legate":1,"command":"status"}')
  }
  const { success, data } = requestSchema.safeParse(value)
  if (!success) throw new AdminError('this is no request; one is {"legate":1,"command":"status"}')
  if (data.legate !== PROTOCOL_VERSION) {
    throw new AdminError(
      `the server speaks version ${PROTOCOL_VERSION} of this protocol: use the command of its release`,
    )
  }
  return data
}
