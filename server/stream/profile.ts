/** What a stream is for: the part of its owner. */

import type { Stanza } from '../stanza/stanza.ts'
import type { StreamSession } from './session.ts'
import type { StreamHeader, TokenizerLimits } from './tokenizer.ts'

/** What kind of stream it is: who talks to whom, and what happens at each step. */
export interface StreamProfile {
  /** For the log: `c2s`, `component`. */
  readonly name: string
  /** The content namespace (RFC 6120 §4.8.2). */
  readonly defaultNs: string
  /** Limits before authentication. */
  readonly limits: TokenizerLimits
  /** Seconds that the peer has to close its stream after ours is closed. */
  readonly closeTimeout: number
  /** A stream header has come; answer with `session.openStream` or throw a StreamError. */
  opened(session: StreamSession, header: StreamHeader): void
  /** A first-level child has come. May throw a StreamError. */
  received(session: StreamSession, stanza: Stanza): void
  /** The session has ended, for whatever reason; called once. */
  closed(session: StreamSession, reason: string | undefined): void
}
