// The bench's load: it must read what servers send rightly, and fail loudly when they answer wrongly.
import { createServer, type Socket } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { type LoopPlan, runClosedLoop } from '../../bench/load/closed-loop.ts'
import { connectComponent } from '../../bench/load/component.ts'
import { Connection } from '../../bench/load/connection.ts'
import { attribute, stanzaEnd } from '../../bench/load/reading.ts'
import { Scram } from '../../bench/load/scram.ts'
import { OTHER, PART, Skeleton } from '../../bench/load/skeleton.ts'
import * as stanzas from '../../bench/load/stanzas.ts'
import { TRAFFIC } from '../../bench/load/traffic.ts'

const ID = stanzas.operationId(7, 13, 42)
const JID = stanzas.clientJid(7)
const bytes = (text: string) => Buffer.from(text, 'latin1')

/** A forwarded request; servers order attributes and choose quotes as they like. */
function wrapper(outerId: string, id: string, from: string): string {
  return (
    `<iq to='pubsub.capulet.lit' id="${outerId}" type='set' from='capulet.lit'>` +
    `<delegation xmlns='urn:xmpp:delegation:2'><forwarded xmlns='urn:xmpp:forward:0'>` +
    `<iq xmlns='jabber:client' from='${from}' ${stanzas.delegatedRequest(id).slice('<iq '.length)}` +
    `</forwarded></delegation></iq>`
  )
}

/** What a client gets for its request. */
function answer(id: string, payloadBytes = 0): string {
  return `<iq id="${id}" type='result' to='${JID}'>${stanzas.answerPayload(payloadBytes)}</iq>`
}

const open: { close(): void }[] = []
afterEach(() => {
  for (const one of open.splice(0)) one.close()
})

/** A server that answers each chunk with what `reply` makes of it. Gives its port. */
async function listen(reply: (chunk: string, socket: Socket) => void): Promise<number> {
  const server = createServer((socket) => {
    open.push({ close: () => socket.destroy() })
    socket.on('error', () => {}).on('data', (chunk) => reply(chunk.toString('latin1'), socket))
  })
  open.push(server)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return (server.address() as { port: number }).port
}

describe('what the load sends', () => {
  it('keeps client, slot and sequence number in ids of one length', () => {
    expect(ID).toHaveLength(stanzas.ID_LENGTH)
    const text = bytes(`..${'x'.repeat(stanzas.ID_LENGTH)}`)
    text.write('q', 2)
    stanzas.writeId(text, 2, 9999, 999, 9_999_999)
    expect(text.toString()).toBe(`..${stanzas.operationId(9999, 999, 9_999_999)}`)
    stanzas.writeId(text, 2, 7, 13, 42)
    expect(text.toString()).toBe(`..${ID}`)
    expect([stanzas.clientIn(text, 2), stanzas.slotIn(text, 2), stanzas.sequenceIn(text, 2)]).toEqual([
      7, 13, 42,
    ])
  })

  it('makes payloads of the length that was asked for', () => {
    for (const length of [200, 2000, 20_000, 200_000]) {
      const payload = stanzas.answerPayload(length)
      expect(payload).toHaveLength(length)
      expect(payload).toContain(stanzas.ANSWER_MARK)
      expect(payload).toContain(stanzas.ANSWER_END_MARK)
    }
    expect(stanzas.answerPayload(0).length).toBeLessThan(350)
    expect(() => stanzas.answerPayload(20)).toThrow('bytes at least')
  })

  it('names the namespace of the load first', () => {
    expect(stanzas.delegatedNamespaces(3)).toEqual([
      stanzas.DELEGATED_NAMESPACE,
      'urn:bench:ns:1',
      'urn:bench:ns:2',
    ])
  })

  it('authenticates with SCRAM-SHA-1 as RFC 5802 §5 does, and knows the server again', () => {
    const exchange = new Scram('user', 'pencil')
    // The nonce of the example.
    Object.assign(exchange, { nonce: 'fyko+d2lbbFgONRv9qkxdawL', bare: 'n=user,r=fyko+d2lbbFgONRv9qkxdawL' })
    expect(Buffer.from(exchange.first(), 'base64').toString()).toBe('n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL')
    const base64 = (text: string) => Buffer.from(text).toString('base64')
    const challenge = 'r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096'
    expect(Buffer.from(exchange.final(base64(challenge)), 'base64').toString()).toBe(
      'c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=',
    )
    expect(exchange.verifies(base64('v=rmF9pqV8S7suAoZWja4dJRkFsKQ='))).toBe(true)
    expect(exchange.verifies(base64('v=rmF9pqV8S7suAoZWja4dJRkFsKR='))).toBe(false)
    expect(() => exchange.final(base64(challenge.replace('fyko', 'okyf')))).toThrow('no SCRAM challenge')
  })
})

describe('what the load reads', () => {
  it('finds the end of every stanza, and none in any part of it', () => {
    const message = stanzas.chatMessage(JID, ID)
    const presence = stanzas.tellingPresence(ID)
    const all = [wrapper('w1', ID, JID), message, presence, answer(ID), '<presence/>', `<iq id='a'/>`]
    for (const stanza of all) {
      expect(stanzaEnd(bytes(`${stanza}<presence/>`), 0)).toBe(stanza.length)
      for (let cut = 1; cut < stanza.length; cut++) expect(stanzaEnd(bytes(stanza.slice(0, cut)), 0)).toBe(-1)
    }
  })

  it('fails at what is no stanza', () => {
    expect(() => stanzaEnd(bytes('<stream:error><conflict/></stream:error>'), 0)).toThrow('stream:error')
  })

  it('reads attributes of one tag only', () => {
    const text = `<iq id="a'b" type='get'><x from='c'/></iq>`
    const head = text.indexOf('>')
    expect(attribute(text, 0, head, 'id')).toBe(`a'b`)
    expect(attribute(text, 0, head, 'from')).toBeUndefined()
    expect(attribute(text, head, text.length, 'from')).toBe('c')
  })

  it('compares every byte outside the holes of a stanza', () => {
    const stanza = answer(ID)
    const at = stanza.indexOf(ID)
    const skeleton = new Skeleton(bytes(stanza), [{ at, length: ID.length }])
    const other = stanza.replace(ID, stanzas.operationId(8, 0, 1))
    expect(skeleton.match(bytes(`..${other}<iq`), 2)).toBe(stanza.length + 2)
    for (let index = 0; index < stanza.length; index++) {
      const cut = bytes(other.slice(0, index + 1))
      if (cut.length < stanza.length) expect(skeleton.match(cut, 0)).toBe(PART)
      if (index >= at && index < at + ID.length) continue
      cut[index]! ^= 1
      expect(skeleton.match(cut, 0)).toBe(OTHER)
      const whole = bytes(other)
      whole[index]! ^= 1
      expect(skeleton.match(whole, 0)).toBe(OTHER)
    }
    // A mismatch leaves nothing behind.
    expect(skeleton.match(bytes(stanza), 0)).toBe(stanza.length)
  })
})

describe('what the load accepts', () => {
  const { 'delegated-iq': iq, message, presence } = TRAFFIC

  it('takes what completes an operation, and passes over what does not', () => {
    expect(iq.idAt(answer(ID), 300)).toBe(answer(ID).indexOf(ID))
    expect(iq.idAt(`<presence from='a@b'/>`, 0)).toBe(-1)
    expect(iq.idAt(`<iq type='get' id='p1'><ping xmlns='urn:xmpp:ping'/></iq>`, 0)).toBe(-1)
    expect(iq.idAt(answer('other'), 0)).toBe(-1)
    const chat = stanzas.chatMessage(JID, ID)
    expect(message.idAt(chat, 0)).toBe(chat.indexOf(ID))
    expect(message.idAt(stanzas.tellingPresence(ID), 0)).toBe(-1)
    const telling = stanzas.tellingPresence(ID)
    expect(presence.idAt(telling, 0)).toBe(telling.indexOf(ID))
    expect(presence.idAt(`<presence type='subscribe' id='${ID}'/>`, 0)).toBe(-1)
  })

  it('fails at an error, at a wrong payload and at one that is too short', () => {
    expect(() => iq.idAt(`<iq id='${ID}' type='error'><error/></iq>`, 0)).toThrow('an error instead')
    expect(() => iq.idAt(`<iq id='${ID}' type='result'/>`, 0)).toThrow('a wrong answer')
    expect(() => iq.idAt(answer(ID).replace(stanzas.ANSWER_END_MARK, ''), 0)).toThrow('a wrong answer')
    expect(() => iq.idAt(answer(ID, 2000), 20_000)).toThrow('a wrong answer')
    expect(() => message.idAt(`<message id='${ID}' type='chat'><body/></message>`, 0)).toThrow('a wrong')
    expect(() => presence.idAt(`<presence id='${ID}'><show>xa</show></presence>`, 0)).toThrow('a wrong')
  })
})

describe('the component', () => {
  const advertisement = `<message><delegation><delegated namespace='urn:a'/></delegation></message>`

  it('answers each forwarded request as its manager, about the asker’s account', async () => {
    const requests = ['w0001', 'w0002', 'other'].map((outer, index) => {
      return wrapper(outer, stanzas.operationId(index, 0, 5), stanzas.clientJid(index))
    })
    const withTo = requests[0]!.replace(`<iq xmlns='jabber:client'`, `$& to='u0000@capulet.lit'`)
    let answered = ''
    let wake = () => {}
    const port = await listen((chunk, socket) => {
      if (chunk.startsWith('<?xml')) socket.write(`<stream:stream id='s'>`)
      else if (chunk.startsWith('<handshake')) socket.write(`<handshake/>${advertisement}`)
      else {
        answered += chunk
        wake()
      }
      // In pieces that end within stanzas.
      if (chunk.startsWith('<handshake')) {
        const text = [...requests, withTo].join('')
        socket.write(text.slice(0, 700))
        setImmediate(() => socket.write(text.slice(700)))
      }
    })
    const component = await connectComponent(port, { jid: stanzas.COMPONENT, secret: 's' })
    open.push(component.connection)
    while (answered.split('</delegation></iq>').length < 5) {
      await new Promise<void>((resolve) => {
        wake = resolve
      })
    }
    const answers = answered.split('</delegation></iq>').slice(0, 4)
    for (const [index, outer] of ['w0001', 'w0002', 'other', 'w0001'].entries()) {
      const client = index % 3
      expect(answers[index]).toContain(
        `<iq type='result' id='${outer}' from='pubsub.capulet.lit' to='capulet.lit'>`,
      )
      expect(answers[index]).toContain(
        ` id='${stanzas.operationId(client, 0, 5)}' from='u000${client}@capulet.lit' to='${stanzas.clientJid(client)}'>`,
      )
      expect(answers[index]).toContain(stanzas.answerPayload(0))
    }
    expect(component.answered()).toBe(4)
  })

  it('holds requests until they are released', async () => {
    let server: Socket | undefined
    let answered = 0
    const port = await listen((chunk, socket) => {
      server = socket
      if (chunk.startsWith('<?xml')) socket.write(`<stream:stream id='s'>`)
      else if (chunk.startsWith('<handshake')) socket.write(`<handshake/>${advertisement}`)
      else answered += chunk.split('</delegation></iq>').length - 1
    })
    const component = await connectComponent(port, { jid: stanzas.COMPONENT, secret: 's' })
    open.push(component.connection)
    const held = component.hold(2)
    server!.write(wrapper('w1', ID, JID) + wrapper('w2', ID, JID))
    await held
    expect([component.answered(), answered]).toEqual([0, 0])
    component.release()
    expect(component.answered()).toBe(2)
  })
})

describe('the closed loop', () => {
  /** A loop of one client. */
  async function loopWith(reply: (chunk: string, socket: Socket) => void, further: Partial<LoopPlan> = {}) {
    const port = await listen(reply)
    const jids = Array.from({ length: further.senders ?? 1 }, (_, index) => stanzas.clientJid(index))
    const clients = await Promise.all(
      jids.map(async (jid) => {
        const connection = await Connection.open(port, 'test')
        open.push(connection)
        return { jid, connection }
      }),
    )
    return runClosedLoop(clients, {
      traffic: 'delegated-iq',
      pids: [process.pid],
      senders: 1,
      inFlight: 4,
      warmUpCpuSeconds: 0.001,
      warmUpOperations: 10,
      windowCpuSeconds: 1,
      windowOperations: 100,
      ...further,
    })
  }

  const idsIn = (chunk: string) => [...chunk.matchAll(/ id='(\w+)'/g)].map(([, id]) => id!)
  const answersTo = (chunk: string) => idsIn(chunk).map((id) => answer(id))

  it('counts a window and then waits for what is in flight', async () => {
    const result = await loopWith((chunk, socket) => socket.write(answersTo(chunk).join('')))
    expect(result.operations).toBe(100)
    expect(result.p99).toBeGreaterThanOrEqual(result.p50)
  })

  it('gives every client its turn where there are more clients than operations in flight', async () => {
    const ids = new Set<string>()
    const reply = (chunk: string, socket: Socket) => {
      for (const id of idsIn(chunk)) ids.add(id.slice(0, 8))
      socket.write(answersTo(chunk).join(''))
    }
    await loopWith(reply, { senders: 11 })
    // Each in its first slot: never two of one client.
    expect([...ids].sort()).toEqual(
      Array.from({ length: 11 }, (_, client) => stanzas.operationId(client, 0, 0).slice(0, 8)),
    )
  })

  it('reads answers in pieces, and such as look otherwise than the one before', async () => {
    let count = 0
    const result = await loopWith((chunk, socket) => {
      const answers = answersTo(chunk).map((text) => {
        return ++count % 3 === 0 ? text.replace(` to='${JID}'`, ` xml:lang='en' to="${JID}"`) : `${text}\n`
      })
      const text = `<presence from='a@b'/>${answers.join('')}`
      const cut = (count * 37) % text.length
      socket.write(text.slice(0, cut))
      setImmediate(() => socket.write(text.slice(cut)))
    })
    expect(result.operations).toBe(100)
  })

  it('fails at an error answer, at wrong, repeated and foreign ones, and at a closed connection', async () => {
    const failing = async (change: (answer: string, count: number) => string) => {
      let count = 0
      await loopWith((chunk, socket) =>
        socket.write(
          answersTo(chunk)
            .map((text) => change(text, ++count))
            .join(''),
        ),
      )
    }
    // Later ones are compared with those that were right.
    const later = (change: (text: string) => string) => (text: string, count: number) =>
      count < 30 ? text : change(text)
    await expect(failing(later((text) => text.replace('result', 'error')))).rejects.toThrow(
      'an error instead',
    )
    await expect(failing(later((text) => text.replace('To be', 'To bee')))).rejects.toThrow('a wrong answer')
    await expect(failing(later((text) => text.repeat(2)))).rejects.toThrow('an answer to nothing')
    await expect(failing((text) => text.repeat(2))).rejects.toThrow('an answer to nothing')
    const foreign = stanzas.operationId(1, 0, 0)
    await expect(failing(later((text) => text.replace(/q\d+/, foreign)))).rejects.toThrow(
      'for another client',
    )
    await expect(loopWith((_, socket) => socket.destroy())).rejects.toThrow('closed the connection')
  })
})
