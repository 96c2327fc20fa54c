/** Commands that are being executed: between two steps, the server remembers who is where. */

import { randomBytes } from 'node:crypto'
import type { Module, StreamSession, Timeout } from '../../server/index.ts'
import type { AdhocAction, AdhocCommand } from './command.ts'

/** Executions that one session may have at once; another one ends its oldest. */
const MOST_OF_SESSION = 10

/** An id that nobody can guess. */
export function executionId(): string {
  return randomBytes(12).toString('base64url')
}

/** A command that waits for its next step. */
export interface Execution {
  readonly id: string
  readonly command: AdhocCommand
  readonly session: StreamSession
  /** What was offered last. */
  actions: readonly AdhocAction[]
  state: unknown
  timeout: Timeout
}

/** The executions on one host. */
export class Executions {
  private readonly module: Module
  private readonly seconds: () => number
  private readonly bySession = new Map<StreamSession, Map<string, Execution>>()

  /** @param seconds - that a step may take; read each time */
  constructor(module: Module, seconds: () => number) {
    this.module = module
    this.seconds = seconds
  }

  /** An execution of this session; the ids of others are not known to it. */
  find(session: StreamSession, id: string): Execution | undefined {
    return this.bySession.get(session)?.get(id)
  }

  /** Remembers a command's first step. */
  begin(
    command: AdhocCommand,
    session: StreamSession,
    actions: readonly AdhocAction[],
    state: unknown,
  ): string {
    let own = this.bySession.get(session)
    if (own === undefined) {
      own = new Map()
      this.bySession.set(session, own)
    }
    const [oldest] = own.values()
    if (own.size >= MOST_OF_SESSION && oldest !== undefined) this.end(oldest)
    const id = executionId()
    const execution: Execution = { id, command, session, actions, state, timeout: this.timer(session, id) }
    // Ending the oldest may have taken the session out.
    this.bySession.set(session, own.set(id, execution))
    return id
  }

  /** Another step is waited for. */
  proceed(execution: Execution, actions: readonly AdhocAction[], state: unknown): void {
    execution.timeout.cancel()
    // The session may have gone while the handler was at work.
    if (this.find(execution.session, execution.id) !== execution) return
    execution.actions = actions
    execution.state = state
    execution.timeout = this.timer(execution.session, execution.id)
  }

  end(execution: Execution): void {
    execution.timeout.cancel()
    const own = this.bySession.get(execution.session)
    own?.delete(execution.id)
    if (own?.size === 0) this.bySession.delete(execution.session)
  }

  /** The session is gone, and what it was about. */
  endAll(session: StreamSession): void {
    for (const execution of [...(this.bySession.get(session)?.values() ?? [])]) this.end(execution)
  }

  private timer(session: StreamSession, id: string): Timeout {
    return this.module.after(this.seconds(), () => {
      const execution = this.find(session, id)
      if (execution !== undefined) this.end(execution)
    })
  }
}
