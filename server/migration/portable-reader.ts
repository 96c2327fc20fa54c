/** Reads an export (XEP-0227): its file, and those that it includes. */

import { constants } from 'node:fs'
import type { FileHandle } from 'node:fs/promises'
import { open, realpath } from 'node:fs/promises'
import { dirname, join, relative, sep } from 'node:path'
import { DataError, type Part } from './parts.ts'
import { type Context, type Include, PortableDocument } from './portable-document.ts'
import { XmlReader } from './xml-events.ts'

/** Files that include each other: the one of the server, of a host, of a user, and what is in that. */
const DEEPEST = 4

/** What is read, and whom to tell how it goes. */
export interface PortableSource {
  /** Bytes of the document. */
  readonly bytes: AsyncIterable<Buffer>
  /** How messages call it. */
  readonly name: string
  /** Where it is; undefined if it can not include others. */
  readonly path: string | undefined
  readonly onRead: (bytes: number) => void
  readonly onAccount: () => void
}

/**
 * The pieces of all accounts.
 *
 * @throws DataError where the file is no XML, or none that begins as an export; errors of the file system
 */
export async function* readPortable(source: PortableSource): AsyncGenerator<Part> {
  const base = source.path === undefined ? undefined : dirname(await realpath(source.path))
  const reader = new ExportReader(source, base)
  yield* reader.read(source.bytes, source.name, base, { level: 'document' }, 1)
}

class ExportReader {
  private readonly source: PortableSource
  /** Nothing outside of this folder is included. */
  private readonly base: string | undefined

  constructor(source: PortableSource, base: string | undefined) {
    this.source = source
    this.base = base
  }

  /** @param folder - what relative references are relative to */
  async *read(
    bytes: AsyncIterable<Buffer>,
    name: string,
    folder: string | undefined,
    context: Context,
    depth: number,
  ): AsyncGenerator<Part> {
    const document: PortableDocument = new PortableDocument(context, () => xml.place)
    const xml: XmlReader = new XmlReader(name, document)
    const decoder = new TextDecoder('utf-8', { fatal: true })
    try {
      for await (const chunk of bytes) {
        this.source.onRead(chunk.length)
        this.feed(xml, decoder, chunk)
        yield* this.found(document, folder, depth)
      }
      this.feed(xml, decoder, undefined)
      xml.end()
    } catch (error) {
      if (!(error instanceof DataError)) throw error
      // What came before it counts.
      yield* this.found(document, folder, depth)
      if (depth === 1) throw error
      // A file of one user is that user's matter only.
      const isOfAccount = document.isInAccount || context.level === 'user'
      yield { kind: isOfAccount ? 'broken' : 'failure', place: error.place, text: error.message }
      if (document.isInAccount) yield { kind: 'end' }
    }
    yield* this.found(document, folder, depth)
  }

  private feed(xml: XmlReader, decoder: InstanceType<typeof TextDecoder>, chunk: Buffer | undefined): void {
    let text: string
    try {
      text = chunk === undefined ? decoder.decode() : decoder.decode(chunk, { stream: true })
    } catch {
      throw new DataError(
        { ...xml.place, column: undefined },
        'from somewhere after this line on it is no UTF-8',
      )
    }
    xml.write(text)
  }

  private async *found(
    document: PortableDocument,
    folder: string | undefined,
    depth: number,
  ): AsyncGenerator<Part> {
    const { found } = document
    document.found = []
    for (const part of found) {
      if (part.kind === 'include') yield* this.include(part, folder, depth)
      else {
        yield part
        if (part.kind === 'end') this.source.onAccount()
      }
    }
  }

  private async *include(
    { href, place, context }: Include,
    folder: string | undefined,
    depth: number,
  ): AsyncGenerator<Part> {
    const opened = await this.open(href, folder, depth)
    if (typeof opened === 'string') {
      const text = `"${href}" can not be included: ${opened}`
      yield { kind: context.level === 'user' ? 'broken' : 'failure', place, text }
      return
    }
    const { file, path } = opened
    const bytes = file.createReadStream({ highWaterMark: 65_536 }) as AsyncIterable<Buffer>
    yield* this.read(bytes, relative(this.base!, path), dirname(path), context, depth + 1)
  }

  /** @returns why it can not be, if it can not */
  private async open(
    href: string,
    folder: string | undefined,
    depth: number,
  ): Promise<{ file: FileHandle; path: string } | string> {
    if (folder === undefined || this.base === undefined)
      return 'standard input includes no files; name the file'
    if (depth === DEEPEST) return `files include each other ${DEEPEST} deep`
    if (/^[A-Za-z][A-Za-z0-9+.-]*:/.test(href) || href.startsWith('/') || /[?#\\]/.test(href) || href === '')
      return 'only a relative reference to a file is followed'
    let path: string
    try {
      path = await realpath(join(folder, decodeURIComponent(href)))
    } catch (error) {
      return (error as Error).message
    }
    // Neither by .. nor by a link: what a file of somebody else names must not come from elsewhere on this machine.
    if (!path.startsWith(this.base.endsWith(sep) ? this.base : this.base + sep))
      return `it is not in ${this.base}, where the export is`
    // A pipe would keep us waiting.
    const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK).catch(
      (error: Error) => error.message,
    )
    if (typeof file === 'string') return file
    if ((await file.stat()).isFile()) return { file, path }
    await file.close()
    return 'it is no file'
  }
}
