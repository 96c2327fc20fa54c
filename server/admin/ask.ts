/** The asking side of the admin channel: one request, one answer. */

import { connect } from 'node:net'
import { type AdminAnswer, answerSchema, MOST_ANSWER_BYTES, PROTOCOL_VERSION } from './protocol.ts'

/** No server listens there. */
export class NobodyThere extends Error {
  override readonly name = 'NobodyThere'
}

/** What a command asks for. */
export interface Question {
  readonly command: string
  readonly [parameter: string]: unknown
}

/**
 * Asks the server at a socket.
 *
 * @param path - one that the system takes
 * @param timeout - milliseconds for all of it
 * @throws NobodyThere if no server listens, or an Error that says what else keeps it from answering
 */
export function ask(path: string, question: Question, timeout: number): Promise<AdminAnswer> {
  return new Promise((resolve, reject) => {
    const socket = connect(path)
    const chunks: Buffer[] = []
    let bytes = 0
    const finish = (settle: () => void): void => {
      clearTimeout(late)
      socket.destroy()
      settle()
    }
    const fail = (message: string): void => finish(() => reject(new Error(message)))
    const late = setTimeout(() => fail(`no answer within ${timeout / 1000} s`), timeout)
    socket.once('connect', () => {
      socket.write(`${JSON.stringify({ legate: PROTOCOL_VERSION, ...question })}\n`)
    })
    socket.on('data', (chunk) => {
      chunks.push(chunk)
      bytes += chunk.length
      if (bytes > MOST_ANSWER_BYTES) fail('the answer has no end')
    })
    socket.once('end', () => {
      const answer = readAnswer(Buffer.concat(chunks).toString('utf8'))
      if (answer === undefined)
        fail(bytes === 0 ? 'it closes the connection' : 'what it answers is not understood')
      else finish(() => resolve(answer))
    })
    socket.on('error', (error: NodeJS.ErrnoException) => {
      const gone = error.code === 'ECONNREFUSED' || error.code === 'ENOENT' || error.code === 'ENOTDIR'
      finish(() => reject(gone ? new NobodyThere(error.message) : error))
    })
  })
}

function readAnswer(line: string): AdminAnswer | undefined {
  try {
    return answerSchema.parse(JSON.parse(line))
  } catch {
    return undefined
  }
}
