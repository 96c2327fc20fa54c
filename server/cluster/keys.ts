/**
 * Where the cluster keeps what in Redis; docs/cluster-keys.md says what is in it. All keys have one hash tag, so that
 * in a Redis Cluster they are in one slot, and a script may touch several of them.
 */

export class ClusterKeys {
  /** Hash: a member's id → what it has told of itself, as JSON. */
  readonly members: string
  /** Hash: a member's id → a number that grows with each of its commands. Who stands still is taken for dead. */
  readonly beats: string
  /** Hash: a member's id → number of its last batch of changes, its id in the stream, `o` while incomplete. */
  readonly batches: string
  /** Stream: who comes and goes, and what changes in what they hold. */
  readonly changes: string
  /** The last id that was given to something in any of the streams, in microseconds since 1970 or a little more. */
  readonly clock: string
  /** The id of the last entry of `changes`. */
  readonly latest: string
  private readonly base: string

  /** @param prefix - what every key begins with */
  constructor(prefix: string) {
    this.base = `{${prefix}:cluster}`
    this.members = `${this.base}:members`
    this.beats = `${this.base}:beats`
    this.batches = `${this.base}:batches`
    this.changes = `${this.base}:changes`
    this.clock = `${this.base}:clock`
    this.latest = `${this.base}:latest`
  }

  /** Hash: what a member holds. */
  state(id: string): string {
    return `${this.base}:state:${id}`
  }

  /** Stream: batches of messages that a member has not taken yet. */
  inbox(id: string): string {
    return `${this.base}:inbox:${id}`
  }

  /** Whether a member that is gone has left in order (`1`) or was taken for dead (`0`); expires. */
  gone(id: string): string {
    return `${this.base}:gone:${id}`
  }
}
