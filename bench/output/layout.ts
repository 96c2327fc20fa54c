// Tables as aligned text that fits a terminal, and as Markdown.

/** What stands in one field: parts that may stand beside each other, or one above the other. */
export type Field = readonly string[]

/** A row: its beginning, and a field a column. */
export interface Row {
  title: string
  fields: readonly Field[]
}

/** A table. */
export interface Table {
  /** What it shows, and in which unit. */
  caption: string
  heading: readonly Field[]
  rows: readonly Row[]
}

/** Columns of a terminal that the text keeps to, if titles and fields are of usual length. */
export const TEXT_WIDTH = 110

const GAP = '  '
/** Row titles are broken into lines before they are narrower than this. */
const LEAST_TITLE = 18

/** The tables as text, all in one manner: a line a row, or, where that is too wide, the parts of fields stacked. */
export function textTables(tables: readonly Table[]): string {
  const cleaned = tables.map(printable)
  const flat = cleaned.map(flattened)
  const chosen = flat.every((table) => titleRoom(table) >= longestTitle(table)) ? flat : cleaned
  return chosen.map(textTable).join('\n\n')
}

/** A table as Markdown, without its caption. */
export function markdownTable(table: Table): string {
  const rows = [{ title: '', fields: table.heading }, ...table.rows].map(({ title, fields }) =>
    [title, ...fields.map((field) => field.join(' '))].map(markdownText),
  )
  const widths = rows[0]!.map((_, column) => Math.max(4, ...rows.map((row) => row[column]!.length)))
  const rule = widths.map((width, column) => (column === 0 ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`))
  const [heading, ...rest] = rows
  return [heading!, rule, ...rest]
    .map((row) => `| ${row.map((text, column) => align(text, widths[column]!, column)).join(' | ')} |`)
    .join('\n')
}

/** Text that Markdown shows as it is, in one line. */
export function markdownText(text: string): string {
  return oneLine(text).replace(/[\\`*_[\]|&<>]/g, (character) => {
    if (character === '&') return '&amp;'
    if (character === '<') return '&lt;'
    return character === '>' ? '&gt;' : `\\${character}`
  })
}

/** Text without line breaks, and without what could move a terminal's cursor. */
export function oneLine(text: string): string {
  return text.replace(/[\p{Cc}\p{Zl}\p{Zp}]+/gu, ' ').trim()
}

function textTable(table: Table): string {
  const widths = columnWidths(table)
  const titleWidth = Math.min(longestTitle(table), Math.max(LEAST_TITLE, titleRoom(table)))
  const lines = [{ title: '', fields: table.heading }, ...table.rows].flatMap(({ title, fields }) => {
    const titleLines = wrap(title, titleWidth)
    const height = Math.max(titleLines.length, ...fields.map((field) => field.length))
    return Array.from({ length: height }, (_, line) => {
      const texts = fields.map((field, column) => (field[line] ?? '').padStart(widths[column]!))
      return [(titleLines[line] ?? '').padEnd(titleWidth), ...texts].join(GAP).trimEnd()
    })
  })
  return [table.caption, ...lines].join('\n')
}

/** Columns that are left for the titles of rows. */
function titleRoom(table: Table): number {
  return TEXT_WIDTH - columnWidths(table).reduce((sum, width) => sum + width + GAP.length, 0)
}

function columnWidths(table: Table): number[] {
  return table.heading.map((heading, column) => {
    const fields = [heading, ...table.rows.map((row) => row.fields[column] ?? [])]
    return Math.max(...fields.flat().map((part) => part.length))
  })
}

function printable(table: Table): Table {
  return {
    caption: oneLine(table.caption),
    heading: table.heading.map((field) => field.map(oneLine)),
    rows: table.rows.map(({ title, fields }) => ({
      title: oneLine(title),
      fields: fields.map((field) => field.map(oneLine)),
    })),
  }
}

/** The same table with each field in one part. */
function flattened(table: Table): Table {
  return {
    caption: table.caption,
    heading: table.heading.map((field) => [field.join(' ')]),
    rows: table.rows.map(({ title, fields }) => ({
      title,
      fields: fields.map((field) => [field.join(' ')]),
    })),
  }
}

function longestTitle(table: Table): number {
  return Math.max(0, ...table.rows.map(({ title }) => title.length))
}

/** Breaks a text at spaces into lines of at most `width`; words that are too long stay whole. */
export function wrap(text: string, width: number): string[] {
  const lines: string[] = []
  for (const word of text.split(' ')) {
    const last = lines.at(-1)
    if (last !== undefined && last.length + 1 + word.length <= width)
      lines[lines.length - 1] = `${last} ${word}`
    else lines.push(word)
  }
  return lines
}

function align(text: string, width: number, column: number): string {
  return column === 0 ? text.padEnd(width) : text.padStart(width)
}
