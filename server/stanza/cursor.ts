/** Walking through text that the tokenizer has accepted, without building a tree. */

const QUOT = 0x22
const APOS = 0x27
const SLASH = 0x2f
const GREATER = 0x3e
const EXCLAMATION = 0x21

/**
 * @param text - accepted text
 * @param open - where a tag's `<` is
 * @returns where its `>` is; -1 if the text ends before
 */
export function endOfTag(text: string, open: number): number {
  for (let at = open + 1; at < text.length; at++) {
    const c = text.charCodeAt(at)
    if (c === GREATER) return at
    if (c === QUOT || c === APOS) {
      at = text.indexOf(c === QUOT ? '"' : "'", at + 1)
      if (at < 0) return -1
    }
  }
  return -1
}

/**
 * @param text - accepted text
 * @param from - where an element's content begins
 * @returns where the `<` of its end tag is; -1 if the text ends before
 */
export function endOfContent(text: string, from: number): number {
  let depth = 0
  let at = text.indexOf('<', from)
  while (at >= 0) {
    const c = text.charCodeAt(at + 1)
    if (c === EXCLAMATION) {
      at = text.indexOf(']]>', at)
      if (at < 0) return -1
    } else if (c === SLASH) {
      if (depth === 0) return at
      depth--
    } else {
      at = endOfTag(text, at)
      if (at < 0) return -1
      if (text.charCodeAt(at - 1) !== SLASH) depth++
    }
    at = text.indexOf('<', at + 1)
  }
  return -1
}
