/** What the demo shows: steps with a sentence, stanzas on their way, and a summary. */

import type { Element } from '@xmpp/xml'
import { type Palette, prettyXml } from './pretty.ts'

const WIDTH = 100

/** Colours as ECMA-48 numbers them. */
const BOLD = 1
const DIM = 2
const RED = 31
const GREEN = 32
const YELLOW = 33
const BLUE = 34
const MAGENTA = 35
const CYAN = 36

/** Prints on a stream; colours it on a terminal, unless NO_COLOR says otherwise (no-color.org). */
export class Screen {
  private readonly stream: NodeJS.WriteStream
  private readonly coloured: boolean
  private readonly palette: Palette
  private steps = 0
  private hops = 0

  constructor(stream: NodeJS.WriteStream, environment: Record<string, string | undefined> = process.env) {
    this.stream = stream
    this.coloured = stream.isTTY === true && !environment['NO_COLOR'] && environment['TERM'] !== 'dumb'
    this.palette = {
      tag: (text) => this.paint(text, CYAN),
      attribute: (text) => this.paint(text, BLUE),
      value: (text) => this.paint(text, YELLOW),
      text: (text) => this.paint(text, BOLD),
    }
  }

  /** What it is all about. */
  title(title: string, sentences: string): void {
    this.print(this.paint(title, BOLD))
    this.print(wrapText(sentences, WIDTH).join('\n'))
  }

  /** A step begins. */
  step(title: string, sentences: string): void {
    this.hops = 0
    const head = `── ${++this.steps}. ${title} `
    this.print(`\n${this.paint(head + '─'.repeat(Math.max(0, WIDTH - head.length)), BOLD)}`)
    this.print(wrapText(sentences, WIDTH).join('\n'))
  }

  /** A fact of a step. */
  fact(name: string, value: string): void {
    this.print(`   ${this.paint(name.padEnd(14), DIM)}${value}`)
  }

  /** A stanza that went from one to another. */
  hop(from: string, to: string, note: string, stanza: Element): void {
    const way = `${this.paint(from, GREEN)} ${this.paint('──▶', BOLD)} ${this.paint(to, MAGENTA)}`
    this.print(`\n ${this.paint(`(${++this.hops})`, BOLD)} ${way}${note && this.paint(`   ${note}`, DIM)}`)
    for (const line of prettyXml(stanza, this.palette, WIDTH - 5)) this.print(`     ${line}`)
  }

  /** What a step has come to. */
  outcome(text: string): void {
    this.print(`\n ${this.paint('✓', GREEN)} ${text}`)
  }

  /** What to remember. */
  summary(title: string, lines: string[]): void {
    this.print(`\n${this.paint(`── ${title} `.padEnd(WIDTH, '─'), BOLD)}`)
    for (const line of lines) this.print(` • ${line}`)
  }

  note(text: string): void {
    this.print(this.paint(text, DIM))
  }

  failure(text: string): void {
    this.print(`\n ${this.paint('✗', RED)} ${text}`)
  }

  private paint(text: string, colour: number): string {
    return this.coloured ? `\u001b[${colour}m${text}\u001b[0m` : text
  }

  private print(text: string): void {
    this.stream.write(`${text}\n`)
  }
}

function wrapText(text: string, width: number): string[] {
  const lines: string[] = []
  let line = ''
  for (const word of text.split(/\s+/)) {
    if (line !== '' && line.length + 1 + word.length > width) {
      lines.push(line)
      line = ''
    }
    line += line === '' ? word : ` ${word}`
  }
  return line === '' ? lines : [...lines, line]
}
