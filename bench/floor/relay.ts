// The floor's work: stanzas go where the numbers in them say, and what must be new in them is put around them.
import type { Socket } from 'node:net'
import { FLOOR_STREAM } from '../load/client.ts'
import { DELEGATED_NAMESPACE, HOST, readDigits } from '../load/stanzas.ts'
import { AnswerLayout, message, numberAt, presence, request, WRAPPER_END, wrapperStart } from './layout.ts'

/** Bytes of stanzas that wait to be written in one piece. */
type Pieces = Buffer[]

const COMPONENT_HEADER = `<?xml version='1.0'?><stream:stream id='${FLOOR_STREAM}' from='${HOST}' version='1.0'>`
const ADVERTISEMENT = `<message><delegation><delegated namespace='${DELEGATED_NAMESPACE}'/></delegation></message>`
const AFTER = Buffer.from(WRAPPER_END)
const IQ_END = Buffer.from('</iq>')
const READY = `<iq type='result' id='ready'/>`
const END = '</stream:stream>'

/** A client that has logged in. */
interface Session {
  socket: Socket
  jid: string
  /** What stands before its request on the way to the component, and in it its number. */
  before: Buffer | undefined
  /** What its presence begins with, and who gets it. */
  presenceStart: Buffer | undefined
  audience: Session[]
}

/** Who is connected. */
export class Relay {
  /** By the number that they have in answers. */
  private readonly sessions: (Session | undefined)[] = []
  private readonly freeNumbers: number[] = []
  /** The clients that make the load, by the numbers in their JIDs. */
  private readonly clients: (Session | undefined)[] = []
  private component: Socket | undefined

  /**
   * Serves a client that is logged in.
   * @param client its number, if it is one of those that others write to
   */
  serveClient(socket: Socket, jid: string, client: number | undefined): void {
    const session: Session = { socket, jid, before: undefined, presenceStart: undefined, audience: [] }
    const number = this.freeNumbers.pop() ?? this.sessions.length
    this.sessions[number] = session
    if (client !== undefined) this.clients[client] = session
    let rest: Buffer | undefined
    socket.on('data', (chunk: Buffer) => {
      const bytes = rest === undefined ? chunk : Buffer.concat([rest, chunk])
      const at = this.fromClient(session, number, bytes)
      rest = at < bytes.length ? bytes.subarray(at) : undefined
    })
    socket.on('close', () => {
      this.sessions[number] = undefined
      this.freeNumbers.push(number)
    })
    socket.write(READY)
  }

  /** Handles what has come whole, and gives where the rest begins. */
  private fromClient(session: Session, number: number, bytes: Buffer): number {
    const forComponent: Pieces = []
    const forClients = new Map<Session, Pieces>()
    const forAudience: Pieces = []
    let at = 0
    // The second byte tells what it is: <iq, <message, <presence, or the stream's end.
    while (at + presence.kindAt < bytes.length) {
      const kind = bytes[at + 1]
      let end = at
      if (kind === 0x69) {
        if (bytes[at + request.idAt] !== 0x71) {
          // Whatever it asks, it gets an answer.
          end = bytes.indexOf(IQ_END, at) + IQ_END.length
          if (end < IQ_END.length) break
          session.socket.write(READY)
        } else {
          end = at + request.length
          if (end > bytes.length) break
          session.before ??= Buffer.from(wrapperStart(number, session.jid))
          forComponent.push(session.before, bytes.subarray(at + request.skip, end), AFTER)
        }
      } else if (kind === 0x6d) {
        end = at + message.length
        if (end > bytes.length) break
        const target = this.clients[numberAt(bytes, at + message.toAt)]
        if (target !== undefined) collect(forClients, target, bytes.subarray(at, end))
      } else if (kind === 0x70) {
        session.presenceStart ??= Buffer.from(`<presence from='${session.jid}' `)
        if (bytes[at + presence.kindAt] === 0x69) {
          end = at + presence.length
          if (end > bytes.length) break
          forAudience.push(session.presenceStart, bytes.subarray(at + presence.skip, end))
        } else {
          end = bytes.indexOf(0x3e, at) + 1
          if (end === 0) break
          this.subscription(session, bytes.subarray(at, end))
        }
      } else {
        session.socket.end(END)
        return bytes.length
      }
      at = end
    }
    if (forComponent.length > 0) this.component?.write(Buffer.concat(forComponent))
    for (const [target, own] of forClients) target.socket.write(Buffer.concat(own))
    if (forAudience.length > 0) {
      const piece = Buffer.concat(forAudience)
      session.socket.write(piece)
      for (const { socket } of session.audience) socket.write(piece)
    }
    return at
  }

  /** Happens before anything is measured. */
  private subscription(session: Session, stanza: Buffer): void {
    const text = stanza.toString('latin1')
    const target = this.clients[numberAt(stanza, text.indexOf(`to='`) + 5)]
    if (target === undefined) return
    if (text.includes(`'subscribed'`)) session.audience.push(target)
    target.socket.write(session.presenceStart! + text.slice(presence.skip))
  }

  /** Serves the component, whoever it says it is. */
  serveComponent(socket: Socket): void {
    socket.setNoDelay(true)
    socket.on('error', () => socket.destroy())
    const layout = new AnswerLayout()
    let step = 0
    let pieces: Pieces = []
    let length = 0
    socket.on('data', (chunk: Buffer) => {
      if (step === 0) {
        step = 1
        socket.write(COMPONENT_HEADER)
        return
      }
      if (step === 1) {
        step = 2
        this.component = socket
        socket.write(`<handshake/>${ADVERTISEMENT}`)
        return
      }
      pieces.push(chunk)
      length += chunk.length
      // Large answers come in many chunks; shorter ones than before come whole.
      if (length < layout.length && !layout.endsAt(chunk, chunk.length)) return
      const bytes = pieces.length === 1 ? chunk : Buffer.concat(pieces)
      const at = this.fromComponent(bytes, layout)
      length = bytes.length - at
      pieces = length > 0 ? [bytes.subarray(at)] : []
    })
  }

  /** Handles what has come whole, and gives where the rest begins. */
  private fromComponent(bytes: Buffer, layout: AnswerLayout): number {
    const forClients = new Map<Session, Pieces>()
    let at = 0
    while (at < bytes.length) {
      const known = layout.length > 0 && layout.endsAt(bytes, at + layout.length)
      if (!known && (at + layout.length <= bytes.length || layout.endsAt(bytes, bytes.length))) {
        if (!layout.learn(bytes, at)) break
      }
      const end = at + layout.length
      if (end > bytes.length) break
      const target = this.sessions[readDigits(bytes, at + layout.numberFrom, at + layout.numberTo)]
      if (target !== undefined) collect(forClients, target, bytes.subarray(at + layout.from, at + layout.to))
      at = end
    }
    for (const [target, own] of forClients) target.socket.write(Buffer.concat(own))
    return at
  }
}

function collect(pieces: Map<Session, Pieces>, target: Session, piece: Buffer): void {
  const own = pieces.get(target)
  if (own === undefined) pieces.set(target, [piece])
  else own.push(piece)
}
