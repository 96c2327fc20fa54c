/** Keeping text without keeping what it was cut from. */

/** Shorter strings are copied by V8 itself when they are cut. */
const SHORTEST_SLICE = 13

/** A character has three bytes at most for each of its code units. */
const MOST_BYTES = 3
const scratch = Buffer.allocUnsafeSlow(1024)

/** The same string in memory of its own: V8 keeps the whole of what a longer slice was cut from. */
export function detached(text: string): string {
  if (text.length < SHORTEST_SLICE) return text
  if (text.length * MOST_BYTES > scratch.length) return Buffer.from(text, 'utf8').toString('utf8')
  return scratch.toString('utf8', 0, scratch.write(text, 'utf8'))
}
