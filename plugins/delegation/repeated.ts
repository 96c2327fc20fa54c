/** Warnings of what may happen thousands of times at once. */

import type { Host, Logger } from '../../server/index.ts'

/** For which what is the same is only counted. */
const QUIET_SECONDS = 10

/** Tells the first of a kind at once, and how many more there were when ten seconds have passed. */
export class RepeatedWarnings {
  private readonly host: Host
  private readonly log: Logger
  private readonly more = new Map<string, number>()

  constructor(host: Host, log: Logger) {
    this.host = host
    this.log = log
  }

  /**
   * @param kind - what counts as the same; must not be a peer's to choose without end
   * @param fields - of the first
   * @param common - what holds for the others as well
   */
  warn(
    kind: string,
    message: string,
    fields: Record<string, unknown>,
    common: Record<string, unknown>,
  ): void {
    const seen = this.more.get(kind)
    if (seen !== undefined) {
      this.more.set(kind, seen + 1)
      return
    }
    this.more.set(kind, 0)
    this.log.warn(message, { ...common, ...fields })
    this.host.server.timers.after(QUIET_SECONDS, () => {
      const times = this.more.get(kind) ?? 0
      this.more.delete(kind)
      if (times > 0) this.log.warn(`${message}, again`, { ...common, times })
    })
  }
}
