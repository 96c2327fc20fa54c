// What the measuring process asks of the load process, and gets back: messages over Node's IPC channel.
import type { LoopPlan, LoopResult } from './closed-loop.ts'

/** Requests by name: what they take and what they give. */
export interface LoadRequests {
  /** Connects the component and logs `clients` clients in. */
  connect: { take: { c2sPort: number; componentPort: number; clients: number }; give: null }
  /** Runs one closed loop over them. */
  loop: { take: LoopPlan; give: LoopResult }
  /** Logs in idle sessions number `first` to `first + count - 1`, spread over the accounts, and keeps them. */
  sessions: { take: { c2sPort: number; first: number; count: number; accounts: number }; give: null }
}

/** Names of {@link LoadRequests}. */
export type LoadRequestName = keyof LoadRequests

/** A request on its way. */
export type LoadRequest = {
  [Name in LoadRequestName]: { request: Name; with: LoadRequests[Name]['take'] }
}[LoadRequestName]

/** Its answer: what it gives, or what went wrong. */
export type LoadReply = { gives: LoadRequests[LoadRequestName]['give'] } | { error: string }
