/** What joins the processes of a cluster: who is there, what each of them holds, and messages between them. */

/** One process, from its start to its end. A process that was taken for dead comes back as another member. */
export interface Member {
  /** Unique for ever; letters, digits and `-`. */
  readonly id: string
  /** What it has told of itself when it joined. */
  readonly info: MemberInfo
}

export interface MemberInfo {
  /** As the operator knows it: the host's name, or what the configuration says. */
  readonly name: string
  readonly pid: number
  /** Unix time in seconds. */
  readonly since: number
  readonly version: string
  /** A word of letters and digits that no other process has; the same as long as the process lives. */
  readonly tag: string
}

/** What waits for a message to be acknowledged. */
export interface Waiting {
  /**
   * The member is gone, and whether it has worked on the message is not known; it will not any more. Or this process
   * has been expelled or has left; then the member may also still do it. Called once at most.
   */
  lost(): void
  /** The member has acknowledged it. */
  done?(): void
}

/**
 * What is told by a bus. All of it comes in the order in which it happened at the member that it comes from; only
 * messages to a member that is congested may come later than entries that were published after them. Nothing is told
 * of this process itself, and nothing at all while it is in doubt whether the others have taken it for dead.
 */
export interface BusHandler {
  /** A member is there; for those that were there before, called while joining. What it holds comes next. */
  joined(member: Member): void
  /**
   * A member is gone: it has left in order, or has not been heard of for the length of a lease. Nothing comes from it
   * any more, and what it held is no longer there: `entries`, by key. Then those are told that wait for a message to
   * it.
   */
  left(member: Member, orderly: boolean, entries: ReadonlyMap<string, string>): void
  /** A member's entry is new, another, or (`undefined`) gone. */
  changed(member: Member, key: string, value: string | undefined): void
  /**
   * A message for this process. It is acknowledged once this returns or throws, or its promise has settled, and those
   * before it are; the next one does not wait for that.
   *
   * @param number - of the message, among those from this member
   */
  received(from: Member, text: string, number: number): void | Promise<void>
  /**
   * The others have taken this process for dead, and what it held for gone. `joined` and `changed` are called for
   * everything anew, as for a process that has just started; its own entries have to be published again, best at
   * once. Then those are told that wait for messages.
   */
  expelled(): void
  /**
   * More than is good waits for a member to take it (`true`), or no longer; also before it is told that it is gone.
   * May be called from within `send`.
   */
  congested(member: Member, is: boolean): void
}

/**
 * The bus of one process. Without a connection to what it runs over, messages and entries wait, and nobody is taken
 * for dead who can not be heard of for that reason.
 */
export interface Bus {
  /** This process; another one after `expelled`. */
  readonly self: Member
  /** All members, this process too. */
  readonly members: ReadonlyMap<string, Member>
  /** Whether it knows who else there is: not after `expelled`, until it has joined them anew. */
  readonly knows: boolean
  /**
   * Joins the others; resolves when it knows what they hold. Entries may be published before.
   *
   * @throws Error (as a rejection) that says why not; the bus is of no more use then
   */
  join(handler: BusHandler): Promise<void>
  /** Sends what waits, and waits for what is under way, some seconds at most; gives up what it holds, and ends. */
  leave(): Promise<void>
  /**
   * Sends a message to another member. Messages to one member arrive in order, and once.
   *
   * @param to - its id. Of one that is gone, `waiting` is told in a later turn
   * @param waiting - told if it can not be known that the message has been worked on
   * @returns its number among the messages to that member; 0 if it is gone
   * @throws Error if it is this process
   */
  send(to: string, text: string, waiting?: Waiting): number
  /** A message to another member has come back. @returns who has waited for it, and is told nothing of it any more */
  takeBack(to: string, number: number): Waiting | undefined
  /** Tells everybody that this process holds something, or (`undefined`) no longer. */
  publish(key: string, value: string | undefined): void
  /**
   * Resolves when everything published before is known to the others' store, and this process has been told of all
   * that had been published before it: of two that publish something, one then knows of the other.
   */
  published(): Promise<void>
  /**
   * Resolves when this process knows who is there and what they hold: at once, but for the time after `expelled`.
   *
   * @param ms - to wait at most
   * @returns whether it does
   */
  othersKnown(ms: number): Promise<boolean>
  /** For `legate status`. */
  state(): BusState
}

export interface BusState {
  /** Whether what the bus runs over can be reached. */
  readonly connected: boolean
  /** Milliseconds since it could last be reached; 0 while it can. */
  readonly silentFor: number
  /** This process too. What waits is counted in characters. */
  readonly members: readonly { member: Member; unacknowledged: number; waitingBytes: number }[]
  /** Commands sent so far. */
  readonly commands: number
}
