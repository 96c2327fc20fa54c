// How long a run is going to take yet, by what its parts have taken so far.

/** An estimate that gets better. Every part takes the time since the one before it was done. */
export class Progress {
  private readonly total: number
  /** How often each peer is to be measured in each scenario yet. */
  private readonly left = new Map<string, number>()
  /** Milliseconds that it took last time; and, of a scenario, with the last peer. */
  private readonly known = new Map<string, number>()
  private finished = 0
  private spent = 0
  private counted = 0
  private last = performance.now()

  /** @param peers and scenarios by their names */
  constructor(peers: readonly string[], scenarios: readonly string[], rounds: number) {
    this.total = peers.length * scenarios.length * rounds
    for (const peer of peers) for (const scenario of scenarios) this.left.set(key(peer, scenario), rounds)
  }

  /** A part is done. Gives what is left, for people. */
  done(peer: string, scenario: string): string {
    const now = performance.now()
    const took = now - this.last
    this.last = now
    this.spent += took
    this.counted++
    this.known.set(key(peer, scenario), took)
    this.known.set(scenario, took)
    this.take(peer, scenario)
    return `${this.finished}/${this.total}, ${duration(this.estimate())} left`
  }

  /** A part is not going to take any time. */
  skipped(peer: string, scenario: string): void {
    this.take(peer, scenario)
  }

  private take(peer: string, scenario: string): void {
    this.finished++
    this.left.set(key(peer, scenario), this.left.get(key(peer, scenario))! - 1)
  }

  private estimate(): number {
    let sum = 0
    for (const [part, times] of this.left) {
      const scenario = part.slice(part.indexOf(' ') + 1)
      sum += times * (this.known.get(part) ?? this.known.get(scenario) ?? this.spent / this.counted)
    }
    return sum
  }
}

function key(peer: string, scenario: string): string {
  return `${peer} ${scenario}`
}

function duration(ms: number): string {
  const minutes = ms / 60_000
  return minutes < 1.5 ? `${Math.ceil(ms / 1000)} s` : `${Math.round(minutes)} min`
}
