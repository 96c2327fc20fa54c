/** Who a stanza comes from, as handlers see it: a client, a component, or a host of this server. */

import type { Host } from './host.ts'
import type { Logger } from './log.ts'
import type { Stanza } from './stanza/stanza.ts'

/** How far a session has come. */
export type SessionType = 'c2s_unauthed' | 'c2s_unbound' | 'c2s' | 'component_unauthed' | 'component' | 'host'

/** The origin of a stanza; answers go to its `send`. */
export interface Origin {
  readonly type: SessionType
  /** The host that the session belongs to; undefined until a stream header has named it. */
  readonly host: Host | undefined
  /** Full JID of a bound client. */
  readonly fullJid: string | undefined
  readonly log: Logger
  /** Sends a stanza to this origin; a stanza for one that has gone is dropped. */
  send(stanza: Stanza): void
  /** Sends text that is XML already; a host, which does not write what it is sent, has none. */
  sendText?(text: string): void
  /** Holds back what this origin sends next until a handler has finished, so that order is kept. */
  hold?(until: Promise<unknown>): void
  /**
   * Something that a stanza of this origin has begun goes on beside the next ones, until {@link end}: a write that
   * is not durable yet. The answer to an IQ that comes after it waits for it, and so does any other acknowledgement.
   *
   * @param elsewhere - another process does it: IQs do not wait for that
   * @returns how much goes on in this process
   */
  begin?(work: object, elsewhere?: boolean): number
  /** How much has been begun, ever. */
  readonly begun?: number
  /**
   * It is done, or has failed, or has been handed on.
   *
   * @param since - what {@link begun} was before it was handed on: what has been begun since then takes its place
   */
  end?(work: object, since?: number): void
}

/** Somebody who is connected, to this process or to another one of a cluster. */
export interface Peer extends Origin {
  /** Whether nothing can be sent any more. */
  readonly destroyed: boolean
  /** Unix time in seconds of its beginning. */
  readonly since: number
  sendText(text: string): void
}

/** A bound client, of this process or of another one. */
export interface Resource extends Peer {
  readonly username: string | undefined
  readonly resource: string | undefined
  readonly fullJid: string | undefined
  readonly bareJid: string | undefined
  /** Whether it has sent available presence. */
  readonly available: boolean
  /** Of that presence. */
  readonly priority: number
  /**
   * Sends a stanza that other resources get, too.
   *
   * @param all - of them, the same for each, if it is missed when it arrives at none; undefined if it is certain that
   *   another one has it
   */
  sendAmong(stanza: Stanza, all: readonly Resource[] | undefined): void
}
