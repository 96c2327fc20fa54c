/** Files of Lua data: one value (`return { … };`), or a list of any length, item by item (`item({ … });`). */

import { open } from 'node:fs/promises'
import { type LuaData, LuaDataEnd, LuaDataError, LuaDataReader } from './lua-data.ts'
import { DataError } from './parts.ts'

/** Bytes that are read at a time. */
const CHUNK = 65_536
/** Bytes of one value. */
const LARGEST = 16 * 1024 * 1024

/** Told how many bytes have been read. */
export type OnRead = (bytes: number) => void

/** A value, and the line that it begins in. */
export interface LuaItem {
  readonly value: LuaData
  readonly line: number
}

/**
 * The value of a file.
 *
 * @param name - how messages call the file
 * @returns undefined if there is no such file
 * @throws DataError, or an error of the file system
 */
export async function readLuaFile(path: string, name: string, onRead: OnRead): Promise<LuaItem | undefined> {
  for await (const item of items(path, name, onRead, 'return')) return item
  return undefined
}

/** The items of a list; none if there is no such file. @throws DataError, or an error of the file system */
export function readLuaList(path: string, name: string, onRead: OnRead): AsyncGenerator<LuaItem> {
  return items(path, name, onRead, 'item')
}

async function* items(
  path: string,
  name: string,
  onRead: OnRead,
  form: 'return' | 'item',
): AsyncGenerator<LuaItem> {
  const file = await open(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined
    throw error
  })
  if (file === undefined) return
  try {
    const chunk = Buffer.allocUnsafe(CHUNK)
    /** What is read and not used: the bytes are its characters. */
    let text = ''
    let line = 1
    let ended = false
    let wanted = 0
    for (;;) {
      // Twice as much each time, so that what is large is not read over and over again.
      while (!ended && text.length <= wanted) {
        const { bytesRead } = await file.read(chunk, 0, CHUNK)
        onRead(bytesRead)
        if (bytesRead === 0) ended = true
        text += chunk.toString('latin1', 0, bytesRead)
      }
      const found = next(text, form, ended, name, line)
      if (found === 'end') return
      if (found === 'more') {
        if (text.length > LARGEST)
          throw new DataError({ file: name, line }, `there is more than ${LARGEST / 2 ** 20} MB in one piece`)
        wanted = Math.min(Math.max(text.length * 2, CHUNK), LARGEST)
        continue
      }
      yield { value: found.value, line: line + found.before }
      text = text.slice(found.length)
      line += found.lines
      wanted = 0
    }
  } finally {
    await file.close()
  }
}

interface Found {
  readonly value: LuaData
  /** Characters of it, line ends in it, and line ends before it. */
  readonly length: number
  readonly lines: number
  readonly before: number
}

function next(
  text: string,
  form: 'return' | 'item',
  ended: boolean,
  name: string,
  line: number,
): Found | 'more' | 'end' {
  // The end of a file is nothing that any value goes on with.
  const reader = new LuaDataReader(ended ? `${text} ` : text)
  try {
    if (reader.atEnd) return ended ? 'end' : 'more'
    const before = lineEnds(text, reader.at)
    reader.expect(form)
    const parenthesis = form === 'item' && reader.skip('(')
    const value = reader.value()
    if (parenthesis) reader.expect(')')
    if (!ended || !reader.atEnd) reader.skip(';')
    if (form === 'return') {
      if (!ended) return 'more'
      if (!reader.atEnd) throw new LuaDataError(reader.at, 'something follows the value')
    }
    return { value, length: reader.at, lines: lineEnds(text, reader.at), before }
  } catch (error) {
    if (!(error instanceof LuaDataError)) throw error
    if (error instanceof LuaDataEnd && !ended) return 'more'
    throw new DataError(
      {
        file: name,
        line: line + lineEnds(text, error.at),
        column: error.at - text.lastIndexOf('\n', error.at - 1),
      },
      error.message,
    )
  }
}

function lineEnds(text: string, until: number): number {
  let count = 0
  for (let at = text.indexOf('\n'); at >= 0 && at < until; at = text.indexOf('\n', at + 1)) count++
  return count
}
