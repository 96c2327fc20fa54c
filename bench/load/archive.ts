// Pages of the archive (XEP-0313): what is in it, and how a page is read.
import { type Client, ping } from './client.ts'
import type { StanzaReader } from './connection.ts'
import { attribute } from './reading.ts'
import { type Hole, OTHER, Skeleton } from './skeleton.ts'
import {
  archivedMessage,
  archivedText,
  clientIn,
  ID_LENGTH,
  PAGE_SIZE,
  sequenceIn,
  slotIn,
} from './stanzas.ts'

/** Messages that are sent at a time. */
const PORTION = 100
const ARCHIVE = 'urn:xmpp:mam:2'

/** Each client writes so many messages to somebody at the component, in order; done when all are handled. */
export async function fillArchives(clients: readonly Client[], count: number): Promise<void> {
  const fill = async ({ connection }: Client) => {
    for (let from = 0; from < count; from += PORTION) {
      for (let number = from; number < Math.min(from + PORTION, count); number++) {
        connection.send(archivedMessage(number))
      }
      await ping(connection)
    }
  }
  await Promise.all(clients.map(fill))
}

/**
 * Reads the last page of an archive, again and again: each stanza of it is compared with the one that stood at its
 * place in the page before.
 */
export class PageReader implements StanzaReader {
  private readonly archived: number
  private readonly complete: (bytes: Buffer, idAt: number) => void
  /** By place; the answer is behind the messages. */
  private readonly skeletons: { skeleton: Skeleton; idAt: number }[] = []
  private place = 0
  /** The operation whose page it is. */
  private slot = 0
  private sequence = 0

  /**
   * @param archived - messages in the archive
   * @param complete - told of each page, with where its id stands in the answer
   */
  constructor(archived: number, complete: (bytes: Buffer, idAt: number) => void) {
    this.archived = archived
    this.complete = complete
  }

  quick(bytes: Buffer, at: number): number {
    const known = this.skeletons[this.place]
    if (known === undefined) return OTHER
    const end = known.skeleton.match(bytes, at)
    if (end > 0) this.next(bytes, at + known.idAt)
    return end
  }

  slow(bytes: Buffer, at: number, end: number): void {
    const stanza = bytes.toString('latin1', at, end)
    const head = stanza.indexOf('>')
    const type = attribute(stanza, 0, head, 'type')
    if (type === 'error') throw new Error(`an error instead of a page: ${stanza.slice(0, 1000)}`)
    const isMessage = this.place < PAGE_SIZE
    const marks = isMessage
      ? [
          '<result',
          ARCHIVE,
          '<forwarded',
          '<delay',
          `>${archivedText(this.archived - PAGE_SIZE + this.place)}:`,
        ]
      : ['<fin', ARCHIVE, '<first', '<last']
    const [, , id] = (isMessage ? QUERY_ID : ANSWER_ID).exec(stanza) ?? []
    // Whatever a server asks or tells its clients is none of it.
    if (id === undefined && !stanza.includes(ARCHIVE)) return
    if (id === undefined || !marks.every((mark) => stanza.includes(mark))) {
      throw new Error(`no ${isMessage ? 'message' : 'end'} of the page: ${stanza.slice(0, 1000)}`)
    }
    const holes: Hole[] = []
    for (let found = stanza.indexOf(id); found >= 0; found = stanza.indexOf(id, found + ID_LENGTH)) {
      holes.push({ at: found, length: ID_LENGTH })
    }
    const idAt = holes[0]!.at
    this.skeletons[this.place] = { skeleton: new Skeleton(bytes.subarray(at, end), holes), idAt }
    this.next(bytes, at + idAt)
  }

  private next(bytes: Buffer, idAt: number): void {
    const [slot, sequence] = [slotIn(bytes, idAt), sequenceIn(bytes, idAt)]
    if (this.place === 0) {
      this.slot = slot
      this.sequence = sequence
    } else if (slot !== this.slot || sequence !== this.sequence) {
      throw new Error(`a page of two requests, one of client ${clientIn(bytes, idAt)}`)
    }
    if (this.place++ < PAGE_SIZE) return
    this.place = 0
    this.complete(bytes, idAt)
  }
}

const QUERY_ID = new RegExp(`<result\\b[^>]* queryid=(['"])(q\\d{${ID_LENGTH - 1}})\\1`)
const ANSWER_ID = new RegExp(`^<iq\\b[^>]* id=(['"])(q\\d{${ID_LENGTH - 1}})\\1`)
