// Asks for a password: on a terminal twice and without showing it, else one line of standard input.

import type { ReadStream } from 'node:tty'
import { CommandError } from './failure.ts'

/** Characters; nobody's password is longer (Users says what one may be). */
const MAX_LINE = 8192

/**
 * A new password.
 *
 * @param jid - whose
 * @throws CommandError if there is none, if the two on a terminal differ, or if Ctrl-C was pressed
 */
export async function askPassword(jid: string): Promise<string> {
  const { stdin } = process
  if (!stdin.isTTY) {
    const line = await readLine(stdin)
    if (line === '') throw new CommandError('standard input has no password: it should be its first line')
    return line
  }
  // Before the first prompt and until the last answer: what is typed in between must not show either.
  stdin.setRawMode(true)
  try {
    const first = await askHidden(stdin, `Password for ${jid}: `)
    if (first === '') throw new CommandError('the password is empty: nothing was changed')
    const second = await askHidden(stdin, 'The same again: ')
    if (first !== second) throw new CommandError('the two passwords differ: nothing was changed')
    return first
  } finally {
    stdin.setRawMode(false)
  }
}

async function readLine(input: NodeJS.ReadStream): Promise<string> {
  let text = ''
  input.setEncoding('utf8')
  for await (const chunk of input) {
    text += chunk
    if (text.includes('\n') || text.length > MAX_LINE) break
  }
  return text.split('\n', 1)[0]!.replace(/\r$/, '')
}

/** One line of a terminal in raw mode, with Backspace and Ctrl-U. The prompt goes to standard error. */
function askHidden(terminal: ReadStream, prompt: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let typed: string[] = []
    const finish = (settle: () => void): void => {
      terminal.off('data', onData)
      terminal.off('end', onEnd)
      terminal.pause()
      process.stderr.write('\n')
      settle()
    }
    const cancel = (): void => finish(() => reject(new CommandError('cancelled: nothing was changed')))
    const onEnd = cancel
    const onData = (chunk: string): void => {
      if (chunk.startsWith('\u001b')) return // an arrow or the like
      const characters = [...chunk]
      for (const [index, character] of characters.entries()) {
        if (character === '\r' || character === '\n' || (character === '\u0004' && typed.length > 0)) {
          // What was typed ahead is the next answer's.
          const rest = characters.slice(index + 1).join('')
          finish(() => resolve(typed.join('')))
          if (rest !== '') terminal.unshift(rest, 'utf8')
          return
        }
        if (character === '\u0003' || character === '\u0004') {
          cancel()
          return
        }
        if (character === '\u007f' || character === '\b') typed.pop()
        else if (character === '\u0015') typed = []
        else if (typed.length < MAX_LINE) typed.push(character)
      }
    }
    process.stderr.write(prompt)
    terminal.setEncoding('utf8')
    terminal.on('data', onData)
    terminal.once('end', onEnd)
    terminal.resume()
  })
}
