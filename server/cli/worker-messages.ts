// What a worker and its supervisor tell each other.

import type { AdminRequest } from '../admin/protocol.ts'

/** What becomes of a request. */
export interface WorkerAnswer {
  readonly ok: boolean
  readonly result?: unknown
  readonly error?: string
  /** The error is a mistake of ours, and no sentence for who has asked. */
  readonly internal?: boolean
}

/** What a supervisor tells a worker. */
export type ToWorker =
  | { readonly legate: 'stop' }
  | { readonly legate: 'ask'; readonly id: number; readonly request: AdminRequest }

/** What a worker tells its supervisor. */
export type FromWorker =
  /** It listens: what it was told earlier, Node has dropped. */
  | { readonly legate: 'here' }
  | {
      readonly legate: 'ready'
      /** By which the cluster knows it as long as it lives. */
      readonly tag: string
      readonly hosts: number
    }
  /** It can not start. */
  | { readonly legate: 'failed'; readonly message: string }
  | ({ readonly legate: 'answer'; readonly id: number } & WorkerAnswer)
  /** A process of another machine wants the configuration to be read again. */
  | { readonly legate: 'reload' }

/** Whether a message of the channel is ours: Node has its own there. */
export function isWorkerMessage(message: unknown): message is FromWorker | ToWorker {
  return typeof message === 'object' && message !== null && typeof (message as FromWorker).legate === 'string'
}
