/** The clients and managers of the load over a cluster. */

import type { TestStream } from './client.ts'
import type { ForwardedRequest } from './delegation.ts'
import { MANAGER } from './legate-cluster.ts'
import type { Party } from './stanza-account.ts'

/** A client, from its login to its end. */
export class Client implements Party {
  readonly name: string
  readonly user: string
  /** Number of the process that it is connected to. */
  readonly process: number
  readonly stream: TestStream
  ended = false
  /** The stream error by which it ended. */
  condition = ''
  /** What it has been told last of others: `available` or `unavailable`, by full JID. */
  readonly presence = new Map<string, string>()
  /**
   * Its order counts from this number on. What was sent to one who was bound elsewhere before is taken after it, and
   * may come later than what was sent when it was known where it is.
   */
  orderedFrom = 0
  wasCutOff = false
  /** Its roster is being changed. */
  writes = false

  constructor(name: string, user: string, process: number, stream: TestStream) {
    this.name = name
    this.user = user
    this.process = process
    this.stream = stream
  }

  get jid(): string {
    return this.stream.jid
  }

  /** Whether it is one of those who send messages and IQs to others like it. */
  get talks(): boolean {
    return this.user[0] === 'a'
  }
}

/** A connection of the component that manages. */
export class Manager implements Party {
  readonly orderedFrom = 0
  readonly name: string
  readonly jid = MANAGER
  readonly process: number
  readonly stream: TestStream
  ended = false
  /** Requests that it has not answered yet. */
  readonly kept: ForwardedRequest[] = []

  constructor(process: number, stream: TestStream) {
    this.name = `manager at ${process}`
    this.process = process
    this.stream = stream
  }
}
