// Tables, durations and sizes for a terminal.

import { escapeUnsafe } from '../log-text.ts'

const SECOND = 1000
const MINUTE = 60 * SECOND
const HOUR = 60 * MINUTE
const DAY = 24 * HOUR

/** A column: its head, and where its cells stand. */
export interface Column {
  readonly head: string
  readonly align?: 'right'
}

/**
 * A table with columns as wide as they must be, without control characters of whoever gave the cells.
 *
 * @returns lines
 */
export function table(columns: readonly Column[], rows: readonly (readonly string[])[]): string[] {
  const safe = [columns.map(({ head }) => head), ...rows.map((row) => row.map(escapeUnsafe))]
  const widths = columns.map((_, index) => Math.max(...safe.map((row) => [...(row[index] ?? '')].length)))
  return safe.map((row) =>
    columns
      .map(({ align }, index) => padded(row[index] ?? '', widths[index]!, align))
      .join('  ')
      .trimEnd(),
  )
}

/** Names and values, one pair a line. */
export function pairs(rows: readonly (readonly [string, string])[]): string[] {
  const width = Math.max(...rows.map(([name]) => name.length))
  return rows.map(([name, value]) => `${name.padEnd(width)}  ${escapeUnsafe(value)}`)
}

function padded(text: string, width: number, align: 'right' | undefined): string {
  const space = ' '.repeat(Math.max(0, width - [...text].length))
  return align === 'right' ? space + text : text + space
}

/** `45 s`, `3 min`, `3 h 12 min`, `5 d 3 h`. @param milliseconds - less than none is none */
export function duration(milliseconds: number): string {
  const time = Math.max(0, milliseconds)
  if (time < MINUTE) return `${Math.floor(time / SECOND)} s`
  if (time < HOUR) return `${Math.floor(time / MINUTE)} min`
  if (time < DAY) return two(time, HOUR, 'h', MINUTE, 'min')
  return two(time, DAY, 'd', HOUR, 'h')
}

function two(time: number, large: number, largeName: string, small: number, smallName: string): string {
  const rest = Math.floor((time % large) / small)
  return `${Math.floor(time / large)} ${largeName}${rest === 0 ? '' : ` ${rest} ${smallName}`}`
}

/** A time that was measured: `0.31 ms`, `12.3 ms`, `1.24 s`; `-` if there was nothing to measure. */
export function replyTime(milliseconds: number | undefined): string {
  if (milliseconds === undefined) return '-'
  // Rounding may carry into seconds.
  const rounded = Number(milliseconds.toPrecision(3))
  return rounded < SECOND ? `${rounded} ms` : `${Number((rounded / SECOND).toPrecision(3))} s`
}

/** Local time, as in the log: `2026-11-22 09:10:05`. */
export function dateTime(milliseconds: number): string {
  const time = new Date(milliseconds)
  const twoDigits = (number: number): string => String(number).padStart(2, '0')
  const day = [time.getFullYear(), twoDigits(time.getMonth() + 1), twoDigits(time.getDate())].join('-')
  return `${day} ${[time.getHours(), time.getMinutes(), time.getSeconds()].map(twoDigits).join(':')}`
}

/** `12 %` @param part - of one */
export function percent(part: number): string {
  return `${Math.round(part * 100)} %`
}

/** `12 kB`, and of less `340 B` */
export function kilobytes(bytes: number): string {
  return bytes < 1000 ? `${bytes} B` : `${Math.round(bytes / 1e3)} kB`
}

/** `85 MB` */
export function megabytes(bytes: number): string {
  return `${Math.round(bytes / 1e6)} MB`
}

/** Writes a value for a program that reads it; on a terminal it does no harm either. */
export function printJson(value: unknown): void {
  const lines = JSON.stringify(value, null, 2).split('\n')
  console.log(lines.map(escapeUnsafe).join('\n'))
}
