// Problems of a configuration as people read them on a terminal.

import { isAbsolute, relative } from 'node:path'
import type { ConfigProblem } from '../config/index.ts'

const COLOURS = { error: '\u001b[31m', warning: '\u001b[33m' } as const
const COLOUR_OFF = '\u001b[0m'

/** Whether colours may be written to a stream. */
export function mayColour(stream: { isTTY?: boolean }): boolean {
  return stream.isTTY === true && !process.env['NO_COLOR']
}

/** A path as it is shortest to read: relative where that does not climb. */
export function shortPath(path: string): string {
  const short = relative(process.cwd(), path)
  return short === '' || short.startsWith('..') || isAbsolute(short) ? path : short
}

/** `error    prosody.cfg.lua:12: host capulet.lit: what is wrong` */
export function formatFinding(problem: ConfigProblem, colours = mayColour(process.stderr)): string {
  const { severity } = problem
  const label = severity.padEnd(7)
  return `${colours ? `${COLOURS[severity]}${label}${COLOUR_OFF}` : label}  ${placed(problem)}`
}

/** The message, with where it was found before it. */
export function placed({ position, host, message }: ConfigProblem): string {
  let place = ''
  if (position !== undefined) {
    place = `${shortPath(position.file)}${position.line === undefined ? '' : `:${position.line}`}: `
  }
  // Many messages name the host where it fits in the sentence.
  const named = host === undefined || message.includes(host)
  return `${place}${named ? '' : `host ${host}: `}${message}`
}

/** Each problem once, in the order of the file; those without a place come last. */
export function inOrder(problems: readonly ConfigProblem[]): ConfigProblem[] {
  const once = new Map(problems.map((problem) => [`${problem.severity} ${placed(problem)}`, problem]))
  const files = [...new Set(problems.map(({ position }) => position?.file))]
  const rank = ({ position }: ConfigProblem): [number, number] =>
    position === undefined ? [files.length, 0] : [files.indexOf(position.file), position.line ?? 0]
  return [...once.values()].sort((a, b) => {
    const [fileA, lineA] = rank(a)
    const [fileB, lineB] = rank(b)
    return fileA - fileB || lineA - lineB
  })
}

/** `2 errors, 1 warning` */
export function countFindings(problems: readonly ConfigProblem[]): string {
  const count = (severity: ConfigProblem['severity']) =>
    problems.filter((problem) => problem.severity === severity).length
  return [plural(count('error'), 'error'), plural(count('warning'), 'warning')].join(', ')
}

/** `1 host`, `2 hosts` */
export function plural(count: number, word: string): string {
  return `${count} ${word}${count === 1 ? '' : 's'}`
}
