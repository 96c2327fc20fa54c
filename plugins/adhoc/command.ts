/** What a command is: the item that a plugin adds to the host's list `adhoc`. */

import type { Element, StreamSession } from '../../server/index.ts'

/** What a client may do next; it may always cancel. */
export type AdhocAction = 'prev' | 'next' | 'complete'

/** One step of a command, as its handler gets it. */
export interface AdhocRequest {
  /** `execute` is the first step; later ones are what the client chose of the actions that it was offered. */
  readonly action: 'execute' | AdhocAction
  /** Who executes it. */
  readonly session: StreamSession
  /** Of them: the prepared bare JID. */
  readonly account: string
  /** The form that was sent along (`jabber:x:data`); read it with `readForm`. */
  readonly form: Element | undefined
  /** What the handler gave back at the step before; undefined at the first. */
  readonly state: unknown
}

/** A word to the user. */
export interface AdhocNote {
  readonly type: 'info' | 'warn' | 'error'
  readonly text: string
}

/** What a handler answers: another step, or the end. */
export type AdhocAnswer =
  | {
      readonly status: 'executing'
      /** The form to fill in; see `formElement`. */
      readonly form: Element
      /** What may come next, at least one. `execute` then means `next`, or else `complete`, where offered. */
      readonly actions: readonly [AdhocAction, ...AdhocAction[]]
      readonly notes?: readonly AdhocNote[]
      /** Kept for the next step. */
      readonly state?: unknown
    }
  | {
      readonly status: 'completed'
      /** A form of the type `result`. */
      readonly form?: Element
      readonly notes?: readonly AdhocNote[]
    }

/** A command of a host (XEP-0050): `module.addItem('adhoc', command)`. */
export interface AdhocCommand {
  /** Its name for programs; of several with one node, the first counts. */
  readonly node: string
  /** Its name for people. */
  readonly name: string
  /** `user`: the host's own accounts. `admin`: the accounts that the option `admins` names. */
  readonly permission: 'user' | 'admin'
  /**
   * Works on one step. What it throws ends the command; a `StanzaError` is told to the user as it is.
   * What the session sends meanwhile waits for a promise.
   */
  handle(request: AdhocRequest): AdhocAnswer | Promise<AdhocAnswer>
}
