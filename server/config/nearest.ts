// What somebody meant who has misspelt a name.

/** Names longer than this are not compared: none that is known is near them. */
const MAX_COMPARED = 64

/** Letters to change, add, leave out or swap with their neighbour to make one word of the other. */
function distance(a: string, b: string): number {
  let beforeLast: number[] = []
  let last = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1]
      let least = Math.min(last[j]! + 1, row[j - 1]! + 1, last[j - 1]! + (same ? 0 : 1))
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        least = Math.min(least, beforeLast[j - 2]! + 1)
      }
      row.push(least)
    }
    beforeLast = last
    last = row
  }
  return last[b.length]!
}

/** The known name that a misspelt one is nearest to, if it is near. */
export function nearest(name: string, candidates: Iterable<string>): string | undefined {
  if (name.length > MAX_COMPARED) return undefined
  const most = name.length < 5 ? 1 : name.length < 10 ? 2 : 3
  let best: string | undefined
  let least = most + 1
  for (const candidate of candidates) {
    if (Math.abs(candidate.length - name.length) >= least) continue
    const apart = distance(name.toLowerCase(), candidate)
    if (apart < least) {
      best = candidate
      least = apart
    }
  }
  return best
}
