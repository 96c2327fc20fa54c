/** Several texts as one: their lengths, a line's end, and then they follow each other. Neither side has to escape. */

/** @returns what {@link unpack} reads; empty for none */
export function pack(texts: readonly string[]): string {
  if (texts.length === 0) return ''
  if (texts.length === 1) return `${texts[0]!.length}\n${texts[0]}`
  let lengths = `${texts[0]!.length}`
  for (let i = 1; i < texts.length; i++) lengths += `,${texts[i]!.length}`
  return `${lengths}\n${texts.join('')}`
}

/** @throws Error if it is not what {@link pack} makes */
export function unpack(packed: string): string[] {
  if (packed === '') return []
  const end = packed.indexOf('\n')
  const texts: string[] = []
  let at = end + 1
  for (const length of packed.slice(0, end).split(',')) {
    texts.push(packed.slice(at, at + Number(length)))
    at += Number(length)
  }
  if (end === -1 || at !== packed.length) throw new Error('a batch of messages is not as long as it says')
  return texts
}
