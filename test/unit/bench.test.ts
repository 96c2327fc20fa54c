// The bench's own tools: it must read what servers send rightly, and fail loudly when they answer wrongly.
import { createServer, type Socket } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { runClosedLoop } from '../../bench/load/closed-loop.ts'
import { Connection } from '../../bench/load/connection.ts'
import { Latencies } from '../../bench/load/latency.ts'
import * as stanzas from '../../bench/load/stanzas.ts'
import { TRAFFIC } from '../../bench/load/traffic.ts'
import { cpuSeconds, residentKilobytes } from '../../bench/process-figures.ts'
import { markdownTable, tableRows, textTable } from '../../bench/report.ts'
import { summarize } from '../../bench/statistics.ts'
import { luaText } from '../shared/peers/prosody-config.ts'
import { freePorts } from '../shared/ports.ts'
import { requirePeer } from '../shared/require.ts'

const ID = stanzas.slotId(stanzas.slotPrefix(7, 13), 42)
const WRAPPER =
  `<iq to='pubsub.capulet.lit' id="w1" type='set' from='capulet.lit'><delegation xmlns='urn:xmpp:delegation:2'>` +
  `<forwarded xmlns='urn:xmpp:forward:0'><iq xmlns='jabber:client' from='u07@capulet.lit/bench' ` +
  `${stanzas.delegatedRequest(ID).slice('<iq '.length)}</forwarded></delegation></iq>`

describe('what the load reads', () => {
  it('finds the end of every stanza, and none in any part of it', () => {
    const message = stanzas.chatMessage('u01@capulet.lit/bench', ID)
    for (const stanza of [WRAPPER, message, stanzas.delegatedRequest(ID), '<presence/>', `<iq id='a'/>`]) {
      expect(stanzas.stanzaEnd(`${stanza}<presence/>`, 0)).toBe(stanza.length)
      for (let cut = 1; cut < stanza.length; cut++) {
        expect(stanzas.stanzaEnd(stanza.slice(0, cut), 0)).toBe(-1)
      }
    }
  })

  it('fails at what is no stanza', () => {
    expect(() => stanzas.stanzaEnd('<stream:error><conflict/></stream:error>', 0)).toThrow('stream:error')
  })

  it('keeps client and slot in ids of one length', () => {
    expect(ID).toHaveLength(stanzas.ID_LENGTH)
    expect(stanzas.slotId(stanzas.slotPrefix(0, 0), 8_999_999)).toHaveLength(stanzas.ID_LENGTH)
    expect([stanzas.clientOfId(ID), stanzas.slotOfId(ID)]).toEqual([7, 13])
  })

  it('answers a forwarded request as its manager, about the asker’s account', () => {
    const answer = stanzas.delegatedAnswer(WRAPPER, 0)
    expect(answer).toMatch(/^<iq type='result' id='w1' from='pubsub.capulet.lit' to='capulet.lit'>/)
    expect(answer).toContain(` id='${ID}' from='u07@capulet.lit' to='u07@capulet.lit/bench'>`)
    expect(answer.length).toBeGreaterThan(540)
    expect(answer.length).toBeLessThan(600)
  })
})

describe('what the load accepts', () => {
  const iq = TRAFFIC['delegated-iq']
  const read = (stanza: string) => iq.completes(stanza, 0, stanza.length)

  it('takes a right answer, and passes over what is none', () => {
    expect(read(`<iq id="${ID}" type="result"><x>${stanzas.ANSWER_MARK}</x></iq>`)).toBe(ID)
    expect(read(`<presence from='a@b'/>`)).toBeUndefined()
    expect(read(`<iq type='get' id='p1'><ping xmlns='urn:xmpp:ping'/></iq>`)).toBeUndefined()
  })

  it('fails at an error and at a wrong payload', () => {
    expect(() => read(`<iq id='${ID}' type='error'><error/></iq>`)).toThrow('an error instead of an answer')
    expect(() => read(`<iq id='${ID}' type='result'/>`)).toThrow('a wrong answer')
  })
})

describe('the closed loop', () => {
  const open: { close(): void }[] = []
  afterEach(() => {
    for (const one of open.splice(0)) one.close()
  })

  /** A loop of one client against a server that answers each chunk with what `reply` makes of it. */
  async function loopWith(reply: (chunk: string, socket: Socket) => void) {
    const server = createServer((socket) => socket.on('data', (chunk) => reply(String(chunk), socket)))
    open.push(server)
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const connection = await Connection.open((server.address() as { port: number }).port, 'test')
    open.push(connection)
    return runClosedLoop([{ jid: 'u00@capulet.lit/bench', connection }], {
      traffic: 'delegated-iq',
      pid: process.pid,
      inFlight: 4,
      warmUpSeconds: 0.01,
      warmUpOperations: 10,
      windowCpuSeconds: 1,
      windowOperations: 100,
    })
  }

  const answersTo = (chunk: string) =>
    [...chunk.matchAll(/ id='(\w+)'/g)].map(
      ([, id]) => `<iq type='result' id='${id}'><x>${stanzas.ANSWER_MARK}</x></iq>`,
    )

  it('counts a window and then waits for what is in flight', async () => {
    const result = await loopWith((chunk, socket) => socket.write(answersTo(chunk).join('')))
    expect(result.operations).toBe(100)
    expect(result.p99).toBeGreaterThanOrEqual(result.p50)
  })

  it('fails at an error answer, a repeated answer and a closed connection', async () => {
    await expect(
      loopWith((chunk, socket) => socket.write(answersTo(chunk)[0]!.replace('result', 'error'))),
    ).rejects.toThrow('an error instead of an answer')
    await expect(loopWith((chunk, socket) => socket.write(answersTo(chunk)[0]!.repeat(2)))).rejects.toThrow(
      'an answer to nothing that was asked',
    )
    await expect(loopWith((_, socket) => socket.destroy())).rejects.toThrow('closed the connection')
  })
})

describe('figures and tables', () => {
  it('gives median and spread', () => {
    expect(summarize([3, 1, 2])).toEqual({ median: 2, min: 1, max: 3 })
    expect(summarize([4, 1, 2, 3])).toEqual({ median: 2.5, min: 1, max: 4 })
  })

  it('gives quantiles of reply times', () => {
    const latencies = new Latencies()
    expect(latencies.quantile(0.5)).toBe(0)
    for (let ms = 1; ms <= 100; ms++) latencies.add(ms - 0.005)
    expect(latencies.quantile(0.5)).toBeCloseTo(50, 1)
    expect(latencies.quantile(0.99)).toBeCloseTo(99, 1)
  })

  it('reads CPU time and memory of a process', () => {
    expect(cpuSeconds(process.pid)).toBeGreaterThan(0)
    expect(residentKilobytes(process.pid)).toBeGreaterThan(10_000)
  })

  it('compares with the floor and Prosody in aligned columns', () => {
    const measured = (value: number) => ({ value, details: {} })
    const rows = tableRows({
      peers: [
        { name: 'floor', title: () => 'floor' },
        { name: 'prosody', title: () => 'Prosody' },
      ],
      scenarios: [{ name: 'message', title: 'message', unit: 'µs' }],
      cells: [
        { peer: 'floor', scenario: 'message', rounds: [measured(2), measured(3), measured(1)] },
        { peer: 'prosody', scenario: 'message', rounds: [measured(100)] },
      ],
    })
    expect(rows).toEqual([
      ['', 'message, µs', '÷ floor', '÷ prosody'],
      ['floor', '2.00 (1.00–3.00)', '1.00', '0.020'],
      ['Prosody', '100', '50.0', '1.00'],
    ])
    const widths = textTable(rows).split('\n')
    expect(widths[1]!.length).toBe(widths[2]!.length)
    expect(markdownTable(rows).split('\n')[1]).toBe('| ------- | ---------------: | ------: | --------: |')
  })
})

describe('peers', () => {
  it('writes Lua values', () => {
    expect(luaText({ a: ['x', 1, true], 'b"': 'l\n\\' })).toBe(
      '{ ["a"] = { "x", 1, true }, ["b\\034"] = "l\\010\\092" }',
    )
  })

  it('gives different free ports', async () => {
    expect(new Set(await freePorts(20)).size).toBe(20)
  })

  it('runs, skips, or fails where LEGATE_REQUIRE_PEERS=1', () => {
    expect(requirePeer('Prosody', undefined, {})).toEqual({ skip: false, fail: false, why: '' })
    expect(requirePeer('Prosody', 'not installed', {})).toMatchObject({
      skip: true,
      why: 'skipped: not installed',
    })
    const required = requirePeer('Prosody', 'not installed', { LEGATE_REQUIRE_PEERS: '1' })
    expect(required).toMatchObject({ skip: false, fail: true })
    expect(required.why).toContain('not installed')
  })
})
