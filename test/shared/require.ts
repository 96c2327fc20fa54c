// What tests do about a peer (Prosody, ejabberd, Redis, ...) that is not installed here: they are skipped and
// say why, or, where LEGATE_REQUIRE_PEERS=1 says that every peer must be there, they fail.
import { describe, it } from 'vitest'

/** Whether tests that need a peer run. */
export interface PeerRequirement {
  /** True when the peer is missing and may be. */
  skip: boolean
  /** True when the peer is missing and must not be (LEGATE_REQUIRE_PEERS=1). */
  fail: boolean
  /** For people: what is missing and how to get it; empty when nothing is. */
  why: string
}

/**
 * Decides about tests that need a peer.
 * @param name the peer, as people call it
 * @param reason why it can not be used, with the way out; undefined when it can
 */
export function requirePeer(
  name: string,
  reason: string | undefined,
  environment: Record<string, string | undefined> = process.env,
): PeerRequirement {
  if (reason === undefined) return { skip: false, fail: false, why: '' }
  if (environment['LEGATE_REQUIRE_PEERS'] === '1') {
    return { skip: false, fail: true, why: `LEGATE_REQUIRE_PEERS=1, and ${name} can not be used: ${reason}` }
  }
  return { skip: true, fail: false, why: `skipped: ${reason}` }
}

/**
 * `describe` for tests that need a peer: runs them, or shows one skipped test whose title is the reason,
 * or fails with it (see {@link requirePeer}).
 */
export function describePeer(name: string, reason: string | undefined, tests: () => void): void {
  const { skip, fail, why } = requirePeer(name, reason)
  if (fail) {
    describe(name, () => {
      it('is installed', () => {
        throw new Error(why)
      })
    })
  } else if (skip) {
    describe(name, () => {
      it.skip(why, () => {})
    })
  } else {
    describe(name, tests)
  }
}
