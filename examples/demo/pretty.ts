/** XML as people read it: indented, a line for each element, long tags broken between attributes. */

import type { Element } from '@xmpp/xml'

/** Colours for the parts of a tag. */
export interface Palette {
  tag(text: string): string
  attribute(text: string): string
  value(text: string): string
  text(text: string): string
}

/**
 * An element as lines.
 *
 * @param width - columns that a line should not exceed, its indentation included
 */
export function prettyXml(element: Element, palette: Palette, width: number, indent = ''): string[] {
  const { name } = element
  const attributes = Object.entries(element.attrs as Record<string, unknown>)
    .filter(([, value]) => value !== undefined && value !== null)
    .map(([key, value]) => ({ key, value: escapeXml(String(value)) }))
  const paint = ({ key, value }: { key: string; value: string }) =>
    `${palette.attribute(key)}${palette.tag('=')}${palette.value(`'${value}'`)}`
  const children = (element.children as (Element | string)[]).filter(
    (child) => typeof child === 'object' || child.trim() !== '',
  )
  const close = children.length === 0 ? '/>' : '>'

  const lines: string[] = []
  let line = `${indent}${palette.tag(`<${name}`)}`
  let column = indent.length + 1 + name.length
  for (const attribute of attributes) {
    const length = attribute.key.length + attribute.value.length + 4
    if (column + length > width) {
      lines.push(line)
      line = indent + ' '.repeat(name.length + 1)
      column = line.length
    }
    line += ` ${paint(attribute)}`
    column += length
  }
  line += palette.tag(close)
  const end = palette.tag(`</${name}>`)
  if (children.length === 0) return [...lines, line]
  if (children.every((child) => typeof child === 'string')) {
    return [...lines, `${line}${palette.text(escapeXml(children.join('').trim()))}${end}`]
  }
  lines.push(line)
  for (const child of children) {
    const inner = `${indent}  `
    if (typeof child === 'object') lines.push(...prettyXml(child, palette, width, inner))
    else lines.push(`${inner}${palette.text(escapeXml(child.trim()))}`)
  }
  lines.push(`${indent}${end}`)
  return lines
}

function escapeXml(text: string): string {
  return text.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/'/g, '&apos;')
}
