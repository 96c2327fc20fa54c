/** Bytes of a stream to its header and its stanzas: strict, bounded, and able to be held back. */

import type { ShapeTables } from './assembler.ts'
import { StreamError } from './errors.ts'
import { type KnownHeaders, knownHeaders } from './known-headers.ts'
import { Scanner } from './scanner.ts'
import { shapesOf } from './shape-table.ts'
import type { Pattern } from './shapes.ts'
import { Utf8Reader } from './utf8.ts'

/** Limits of one stream; may be changed at any time, e.g. raised after authentication. */
export interface TokenizerLimits {
  /** bytes (UTF-8, as received) of one top-level element incl. tags; also of the stream header */
  stanzaBytes: number
  /** depth of elements in a stanza, the stanza itself being 1 */
  depth: number
  /** attributes on one element, xmlns declarations included */
  attributes: number
  /** characters of one name */
  nameLength: number
}

export interface StreamHeader {
  /** attributes of the stream header, without xmlns declarations: to, from, id, version, xml:lang */
  readonly attrs: Readonly<Record<string, string>>
  /** the default namespace declared by the header: jabber:client … ('' if none) */
  defaultNs: string
  /** prefixes declared on the header other than the one of the stream namespace: prefix → namespace */
  prefixes: ReadonlyMap<string, string>
}

export interface TokenizerHandler {
  /** The stream header is complete. Its strings keep nothing else alive. */
  streamOpened(header: StreamHeader): void
  /**
   * One complete first-level child of the stream.
   *
   * Whoever keeps one of the strings for long should copy it: a string cut from a chunk may keep the whole
   * chunk alive.
   *
   * @param name - local name
   * @param xmlns - its namespace; `''` if there is none
   * @param attrs - attributes, decoded, keys as written; never `xmlns`. With the declarations of the
   *   prefixes that the element uses and the stream header declares
   * @param inner - the text between its tags, as it was received
   * @param childCount - how many child elements it has
   * @param payloadName - local name of the first of them, `''` if there is none
   * @param payloadNs - its namespace
   * @param pattern - of a stanza of a known shape: what it fits
   * @param cuts - and how, if that has been asked for
   */
  element(
    name: string,
    xmlns: string,
    attrs: Record<string, string>,
    inner: string,
    childCount: number,
    payloadName: string,
    payloadNs: string,
    pattern?: Pattern,
    cuts?: readonly number[],
  ): void
  /** The end tag of the stream. What follows is ignored, until `restart`. */
  streamClosed(): void
}

const NOTHING = Buffer.alloc(0)

/**
 * Reads a stream. It accepts what RFC 6120 allows of XML 1.0 with namespaces, and refuses the rest
 * (§11.1, §11.3); what it accepts, every conforming parser reads in the same way.
 *
 * Its time is linear in the input however the bytes are cut, and so is what it tells.
 */
export class Tokenizer {
  private readonly scanner: Scanner
  private readonly utf8 = new Utf8Reader()

  private failed = false
  private stopped = false
  private paused = false
  private working = false
  // stop() was called while a text was being read: what is left of it must not be.
  private discard = false

  // The text being read, where it stopped, and how many bytes are left of it.
  private text = ''
  private at = 0
  private ascii = true
  private left = 0
  // Bytes that came meanwhile: the first heldLength of held.
  private held = NOTHING
  private heldLength = 0

  /**
   * @param tableOf - where shapes of stanzas are kept; with none, each stanza is scanned
   * @param headers - where stream headers are kept; with null, each is scanned
   */
  constructor(
    handler: TokenizerHandler,
    limits: TokenizerLimits,
    tableOf: ShapeTables = shapesOf,
    headers: KnownHeaders | null = knownHeaders,
  ) {
    this.scanner = new Scanner(handler, limits, tableOf, headers ?? undefined)
  }

  /** Bytes that wait for `resume`. */
  get bufferedBytes(): number {
    return this.left + this.heldLength
  }

  setLimits(limits: TokenizerLimits): void {
    this.scanner.limits = limits
  }

  /** Who is told from now on, of what is left of a chunk that is being read too. */
  set handler(handler: TokenizerHandler) {
    this.scanner.handler = handler
  }

  /**
   * Feed bytes. The chunk is not kept.
   *
   * @throws StreamError on the first thing that is refused. What a handler throws comes out here, too. After
   *   either the tokenizer ignores everything
   */
  write(chunk: Buffer): void {
    if (this.failed || this.stopped) return
    if (this.paused || this.working) this.hold(chunk)
    else this.work(chunk)
  }

  /**
   * From the next byte on a new stream header is expected (after SASL success, RFC 6120 §6.4.6). May be
   * called from a handler, mid-chunk: the rest of the chunk then belongs to the new stream. Ends `stop`; a
   * stream that was refused stays refused.
   */
  restart(): void {
    this.stopped = false
    this.scanner.reset()
  }

  /**
   * Drop what is buffered and ignore all further input, until `restart`. Also for STARTTLS, where what
   * followed the request in plain text must be discarded (RFC 6120 §5.4.3.3).
   */
  stop(): void {
    this.stopped = true
    this.drop()
    if (this.working) this.discard = true
    this.scanner.halted = true
  }

  /**
   * Hold back: handlers are not called any more until `resume`; input is buffered, and counted in
   * `bufferedBytes`. May be called from a handler.
   */
  pause(): void {
    this.paused = true
    this.scanner.halted = true
  }

  /**
   * Goes on after `pause`, with what was held first.
   *
   * @throws StreamError as `write` does
   */
  resume(): void {
    this.paused = false
    this.scanner.halted = this.discard
    if (!this.working && !this.failed && !this.stopped) this.work(undefined)
  }

  private work(chunk: Buffer | undefined): void {
    this.working = true
    try {
      if (chunk === undefined) this.readOn()
      else this.read(chunk)
      while (this.heldLength > 0 && !this.paused) {
        const bytes = this.held.subarray(0, this.heldLength)
        this.held = NOTHING
        this.heldLength = 0
        this.read(bytes)
      }
    } catch (error) {
      this.failed = true
      this.drop()
      this.scanner.reset()
      throw error
    } finally {
      this.working = false
    }
  }

  private read(chunk: Buffer): void {
    const { text, ascii, broken } = this.utf8.read(chunk)
    this.text = text
    this.ascii = ascii
    this.at = 0
    this.left = ascii ? text.length : chunk.length - (broken?.length ?? 0)
    if (!this.readOn() || broken === undefined || this.scanner.closed) return
    if (this.paused) {
      // Its turn comes when what precedes it has been handed over.
      const after = this.held.subarray(0, this.heldLength)
      this.held = Buffer.concat([broken, after])
      this.heldLength = this.held.length
    } else {
      // RFC 6120 §4.9.3.22, §11.6
      throw new StreamError('unsupported-encoding', 'bytes that are not UTF-8')
    }
  }

  /** Reads what is left of the text. Returns whether that is still asked for. */
  private readOn(): boolean {
    const { text, at, ascii, scanner } = this
    scanner.halted = false
    const end = at < text.length ? scanner.scan(text, at, ascii) : at
    if (this.discard) {
      this.discard = false
      return false
    }
    if (end === text.length) {
      this.text = ''
      this.at = 0
      this.left = 0
    } else {
      this.at = end
      this.left -= ascii ? end - at : Buffer.byteLength(text.slice(at, end))
    }
    return true
  }

  private hold(chunk: Buffer): void {
    const length = this.heldLength + chunk.length
    if (length > this.held.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(length, this.held.length * 2, 1024))
      this.held.copy(larger, 0, 0, this.heldLength)
      this.held = larger
    }
    chunk.copy(this.held, this.heldLength)
    this.heldLength = length
  }

  private drop(): void {
    this.utf8.reset()
    this.text = ''
    this.at = 0
    this.left = 0
    this.held = NOTHING
    this.heldLength = 0
  }
}
