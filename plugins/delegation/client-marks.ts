/**
 * Which of several changes of a grant came last, where processes that are one server make them at the same time.
 *
 * Each change is marked with a number greater than all that its process has seen, and with that process's name. The
 * greater number wins, of equal ones the greater name: so all processes end with the same, in whichever order they hear
 * of the changes. The clock only makes sure that a process that has just started does not begin below the others.
 */

/** A change of what one account has delegated: a namespace, its manager (null: none) and since when, and its mark. */
export type GrantChange = readonly [
  namespace: string,
  jid: string | null,
  since: number,
  count: number,
  by: string,
]

export interface Mark {
  readonly count: number
  readonly by: string
  /** When it was noted here, in milliseconds. */
  readonly at: number
}

/** Milliseconds for which is remembered that a namespace is granted no longer: any message is older by then, or lost. */
const REMEMBERED_MS = 600_000

export class GrantMarks {
  private readonly self: string
  private readonly marks = new Map<string, Map<string, Mark>>()
  private latest = 0

  /** @param self - the name of this process */
  constructor(self: string) {
    this.self = self
  }

  of(username: string, namespace: string): Mark | undefined {
    return this.marks.get(username)?.get(namespace)
  }

  accounts(): Iterable<string> {
    return this.marks.keys()
  }

  namespacesOf(username: string): Iterable<string> {
    return this.marks.get(username)?.keys() ?? []
  }

  /** Whether the last change was made by this process. */
  isOwn(username: string, namespace: string): boolean {
    return this.of(username, namespace)?.by === this.self
  }

  /** This process changes a grant. */
  note(username: string, namespace: string): void {
    this.latest = Math.max(this.latest + 1, Date.now())
    this.set(username, namespace, this.latest, this.self)
  }

  /**
   * Another process has changed a grant.
   *
   * @param isGranted - whether it is granted to somebody here
   * @returns whether that came later than what is known here
   */
  take(username: string, [namespace, , , count, by]: GrantChange, isGranted: boolean): boolean {
    this.latest = Math.max(this.latest, count)
    const known = this.of(username, namespace)
    // What was read from the store has no mark.
    const knownCount = known?.count ?? (isGranted ? 0 : -1)
    if (count < knownCount || (count === knownCount && by <= (known?.by ?? ''))) return false
    if (count > 0) this.set(username, namespace, count, by)
    return true
  }

  /** @param isGranted - whether a namespace of an account is granted to somebody */
  sweep(isGranted: (username: string, namespace: string) => boolean): void {
    const end = Date.now() - REMEMBERED_MS
    for (const [username, own] of this.marks) {
      for (const [namespace, { at }] of own) {
        if (at < end && !isGranted(username, namespace)) own.delete(namespace)
      }
      if (own.size === 0) this.marks.delete(username)
    }
  }

  private set(username: string, namespace: string, count: number, by: string): void {
    let own = this.marks.get(username)
    if (own === undefined) {
      own = new Map()
      this.marks.set(username, own)
    }
    own.set(namespace, { count, by, at: Date.now() })
  }
}
