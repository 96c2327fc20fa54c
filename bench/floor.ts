// The floor: a relay with the same sockets and the same hops as a server, that does no XML at all. What it
// costs is what Node's sockets cost; no server in Node can be cheaper.
//
// It lives on what it knows of the bench: logins are one fixed dialogue, a chunk a step, and afterwards every
// stanza of one kind has the same length, and the clients' numbers stand at the same places in it.
//
// node floor.js --c2s PORT --component PORT
import { createServer, type Socket } from 'node:net'
import { parseArgs } from 'node:util'
import {
  COMPONENT,
  chatMessage,
  DELEGATED_NAMESPACE,
  delegatedAnswer,
  delegatedRequest,
  HOST,
  RESOURCE,
  slotId,
  slotPrefix,
  userName,
} from './load/stanzas.ts'

/** Bytes of stanzas that wait for the rest of theirs, or to be written in one piece. */
type Pieces = Buffer[]

const clients: Socket[] = []
let component: Socket | undefined

// What the stanzas of the bench look like, learned from one of each.
const sampleId = slotId(slotPrefix(0, 0), 0)
const sampleJid = `${userName(0)}@${HOST}/${RESOURCE}`
const sampleRequest = delegatedRequest(sampleId)
const sampleWrapper = wrapperStart(sampleJid) + sampleRequest.slice('<iq '.length) + wrapperEnd()
const sampleAnswer = delegatedAnswer(sampleWrapper, 0)
const sampleMessage = chatMessage(sampleJid, sampleId)
const request = { length: sampleRequest.length, skip: '<iq '.length }
const message = { length: sampleMessage.length, to: sampleMessage.indexOf(sampleJid) + 1 }
const inner = sampleAnswer.indexOf('<iq xmlns')
const innerEnd = sampleAnswer.indexOf('</iq>') + '</iq>'.length
const answer = {
  length: sampleAnswer.length,
  from: inner,
  to: innerEnd,
  id: sampleAnswer.indexOf(sampleId) + 1,
}

function wrapperStart(jid: string): string {
  return (
    `<iq type='set' id='00000000' from='${HOST}' to='${COMPONENT}'><delegation xmlns='urn:xmpp:delegation:2'>` +
    `<forwarded xmlns='urn:xmpp:forward:0'><iq xmlns='jabber:client' from='${jid}' `
  )
}

function wrapperEnd(): string {
  return '</forwarded></delegation></iq>'
}

/** The number that two digits at `at` write. */
function number(bytes: Buffer, at: number): number {
  return (bytes[at]! - 48) * 10 + (bytes[at + 1]! - 48)
}

const HEADER = `<?xml version='1.0'?><stream:stream id='floor' from='${HOST}' version='1.0'>`
const SUCCESS = `<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>`
const FEATURES = `${HEADER}<stream:features></stream:features>`
const READY = `<iq type='result' id='ready'/>`

function serveClient(socket: Socket): void {
  socket.setNoDelay(true)
  socket.on('error', () => socket.destroy())
  let step = 0
  let user = ''
  const login = (chunk: Buffer) => {
    const text = chunk.toString('latin1')
    switch (step++) {
      case 0:
      case 2:
        socket.write(FEATURES)
        break
      case 1:
        user = Buffer.from(text.slice(text.indexOf('>') + 1, text.lastIndexOf('<')), 'base64')
          .toString()
          .split('\0')[1]!
        socket.write(SUCCESS)
        break
      case 3: {
        const resource = text.slice(text.indexOf('<resource>') + 10, text.indexOf('</resource>'))
        if (resource === RESOURCE) clients[Number(user.slice(1))] = socket
        const bound = `<bind><jid>${user}@${HOST}/${resource}</jid></bind>`
        socket.write(`<iq type='result' id='bind'>${bound}</iq>`)
        break
      }
      default:
        socket.write(READY)
        socket.off('data', login)
        relay(socket, `${user}@${HOST}/${RESOURCE}`)
    }
  }
  socket.on('data', login)
}

function relay(socket: Socket, jid: string): void {
  const before = Buffer.from(wrapperStart(jid))
  const after = Buffer.from(wrapperEnd())
  let rest: Buffer | undefined
  socket.on('data', (chunk: Buffer) => {
    const bytes = rest === undefined ? chunk : Buffer.concat([rest, chunk])
    const forComponent: Pieces = []
    const forClients = new Map<number, Pieces>()
    let at = 0
    while (at + 1 < bytes.length) {
      // Second byte: <iq or <message; anything else is the stream's end.
      const kind = bytes[at + 1]
      if (kind !== 0x69 && kind !== 0x6d) return
      const end = at + (kind === 0x69 ? request.length : message.length)
      if (end > bytes.length) break
      if (kind === 0x69) forComponent.push(before, bytes.subarray(at + request.skip, end), after)
      else collect(forClients, number(bytes, at + message.to), bytes.subarray(at, end))
      at = end
    }
    rest = at < bytes.length ? bytes.subarray(at) : undefined
    if (forComponent.length > 0) component?.write(Buffer.concat(forComponent))
    writeAll(forClients)
  })
}

function serveComponent(socket: Socket): void {
  socket.setNoDelay(true)
  socket.on('error', () => socket.destroy())
  let step = 0
  let rest: Buffer | undefined
  socket.on('data', (chunk: Buffer) => {
    if (step++ === 0) {
      socket.write(HEADER)
      return
    }
    if (component === undefined) {
      component = socket
      const delegated = `<delegated namespace='${DELEGATED_NAMESPACE}'/>`
      socket.write(`<handshake/><message><delegation>${delegated}</delegation></message>`)
      return
    }
    const bytes = rest === undefined ? chunk : Buffer.concat([rest, chunk])
    const forClients = new Map<number, Pieces>()
    let at = 0
    for (; at + answer.length <= bytes.length; at += answer.length) {
      const piece = bytes.subarray(at + answer.from, at + answer.to)
      collect(forClients, number(bytes, at + answer.id), piece)
    }
    rest = at < bytes.length ? bytes.subarray(at) : undefined
    writeAll(forClients)
  })
}

function collect(pieces: Map<number, Pieces>, client: number, piece: Buffer): void {
  const own = pieces.get(client)
  if (own === undefined) pieces.set(client, [piece])
  else own.push(piece)
}

function writeAll(pieces: Map<number, Pieces>): void {
  for (const [client, own] of pieces) clients[client]?.write(Buffer.concat(own))
}

const { values } = parseArgs({ options: { c2s: { type: 'string' }, component: { type: 'string' } } })
createServer(serveClient).listen({ port: Number(values.c2s), host: '127.0.0.1', backlog: 4096 })
createServer(serveComponent).listen(Number(values.component), '127.0.0.1')
