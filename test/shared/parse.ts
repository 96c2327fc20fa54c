/** Elements from text, as the libraries of `@xmpp/*` read them from a stream. */

import { type Element, Parser } from '@xmpp/xml'

/** @throws Error if it is not one element */
export function parse(text: string): Element {
  const parser = new Parser()
  const found: Element[] = []
  parser.on('element', (element: Element) => found.push(element))
  parser.on('error', (error: Error) => {
    throw error
  })
  parser.write(`<stream>${text}`)
  if (found.length !== 1) throw new Error(`this is not one element: ${text}`)
  return found[0]!
}
