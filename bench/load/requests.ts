// What the measuring process asks of the load, and gets back: messages over Node's IPC channel.
import type { RunningCluster } from '../peers/peer.ts'
import type { RedisCalls } from '../redis-figures.ts'
import type { Setup } from '../scenarios/scenario.ts'
import type { LoopPlan } from './closed-loop.ts'
import type { LoginPlan } from './logins.ts'
import type { WindowResult } from './window.ts'

/** Where the server listens. */
export interface ServerPorts {
  c2sPort: number
  componentPort: number
}

/** To which processes clients connect. */
export type ClientSpread = Pick<RunningCluster, 'c2sPorts' | 'workers'>

/** Requests by name: what they take and what they give. */
export interface LoadRequests {
  /**
   * Connects the component and logs the clients and bystanders of a setup in.
   * `spareAccounts` are there for bystanders. `spread` is there where the server is several processes: then the clients
   * are in order by whose they are, as many of each, and it is waited until all processes know of them.
   */
  connect: {
    take: ServerPorts & { setup: Setup; spareAccounts: number; spread?: ClientSpread }
    give: null
  }
  /** Runs one closed loop over the clients; tells of Redis, if that was asked for, what it did in the window. */
  loop: { take: LoopPlan; give: WindowResult & { redis?: RedisCalls } }
  /** Runs one loop of logins, over accounts beside the clients'. */
  logins: { take: Omit<LoginPlan, 'c2sPort'>; give: WindowResult }
  /** Logs in so many further sessions, which do nothing, spread over so many accounts beside the clients'. */
  sessions: { take: { count: number; accounts: number }; give: null }
  /** Each of these sessions sends a delegated request; the component has them all, and answers none. */
  hold: { take: null; give: null }
  /** The component answers them; every session has got its answer. */
  release: { take: null; give: null }
}

/** Names of {@link LoadRequests}. */
export type LoadRequestName = keyof LoadRequests

/** A request on its way. */
export type LoadRequest = {
  [Name in LoadRequestName]: { request: Name; with: LoadRequests[Name]['take'] }
}[LoadRequestName]

/** Its answer: what it gives, or what went wrong. */
export type LoadReply = { gives: LoadRequests[LoadRequestName]['give'] } | { error: string }

/** The load, as the measuring process sees it. One request at a time. */
export interface Load {
  /**
   * Has the load do something.
   * @throws Error with what went wrong there, or when it has ended
   */
  ask<Name extends LoadRequestName>(
    request: Name,
    take: LoadRequests[Name]['take'],
  ): Promise<LoadRequests[Name]['give']>
  /** Ends it and its connections. */
  stop(): Promise<void>
}
