// What several rounds say together.

/** Middle and spread of some values. */
export interface Summary {
  median: number
  min: number
  max: number
}

/** Median, least and greatest of the values, of which there must be one at least. */
export function summarize(values: readonly number[]): Summary {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  const median = sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
  return { median, min: sorted[0]!, max: sorted[sorted.length - 1]! }
}
