/** Who may answer, and who is answered: nobody else, whatever they know (rules F4, F8). */

import { describe, expect, it } from 'vitest'
import { login, type TestStream } from '../shared/client.ts'
import {
  componentSettled,
  conditionOf,
  type ForwardedRequest,
  forwardedTo,
  goodReply,
  innerAnswer,
  newId,
  replyText,
  statusOf,
  wrapped,
} from '../shared/delegation.ts'
import {
  askThrough,
  HOST,
  JULIET,
  MONTAGUE,
  NS,
  PUBSUB,
  RIVAL,
  ROMEO,
  stage,
} from '../shared/delegation-play.ts'

const play = stage()

const asked = (to: string | null = HOST, asker: TestStream = play.juliet, id = newId()) =>
  askThrough(play, asker, to, id)

const CONTENT = `<query xmlns='${NS}'><item/></query>`

const wrongId = (request: ForwardedRequest): string =>
  replyText(request, wrapped(innerAnswer(request, { id: 'wrong' })))

describe('F8: answers from anyone else are ignored, and the request stays', () => {
  /** Whoever it is says it; then the manager answers, and that counts. */
  async function ignored(forge: (request: ForwardedRequest) => Promise<void>): Promise<void> {
    const { request, answer } = await asked()
    await forge(request)
    expect((await statusOf(play.server, HOST)).size).toBe(1)
    play.pubsub.send(goodReply(request, '<true/>'))
    expect((await answer).getChild('true')).toBeDefined()
  }

  const FORGED = '<forged/>'
  const forgery = (request: ForwardedRequest, changes: Record<string, string | undefined>): string =>
    replyText(request, wrapped(innerAnswer(request, {}, FORGED)), changes)

  it('another component, from its own address', () =>
    ignored(async (request) => {
      for (const type of ['result', 'error']) play.rival.send(forgery(request, { from: RIVAL, type }))
      await componentSettled(play.rival, HOST)
    }))

  it('another component that may send from any address, from the manager’s', () =>
    ignored(async (request) => {
      for (const type of ['result', 'error']) play.rival.send(forgery(request, { type }))
      for (const from of [HOST, JULIET, `x@${PUBSUB}`, 'PUBSUB.capulet.lit'])
        play.rival.send(forgery(request, { from }))
      await componentSettled(play.rival, HOST)
      await play.server.logged('ignored an answer from somebody who was not asked')
    }))

  it('a client: the asker itself, another account, an account of another host', () =>
    ignored(async (request) => {
      const tybalt = await login(play.server.c2sPort, `tybalt@${HOST}/street`)
      const romeo = await login(play.server.c2sPort, `${ROMEO}/orchard`)
      for (const client of [play.juliet, tybalt, romeo]) {
        for (const type of ['result', 'error']) {
          client.send(forgery(request, { from: undefined, type }))
          client.send(forgery(request, { from: client.jid, type }))
          client.send(forgery(request, { from: undefined, to: `${HOST}/x`, type }))
        }
        await client.settled()
      }
      await tybalt.close()
      await romeo.close()
    }))

  it('a client that says it is the manager loses its stream', () =>
    ignored(async (request) => {
      const tybalt = await login(play.server.c2sPort, `tybalt@${HOST}/street`)
      tybalt.send(forgery(request, {}))
      expect((await tybalt.streamError()).condition).toBe('invalid-from')
    }))

  it('the manager, from another address at its domain', () =>
    ignored(async (request) => {
      for (const from of [`x@${PUBSUB}`, `${PUBSUB}/x`, `x@${PUBSUB}/x`])
        play.pubsub.send(forgery(request, { from }))
      await componentSettled(play.pubsub, HOST)
    }))

  it('the manager, to an account of the host, or the host with a resource', () =>
    ignored(async (request) => {
      for (const to of [JULIET, `tybalt@${HOST}`, `${HOST}/x`]) play.pubsub.send(forgery(request, { to }))
      await componentSettled(play.pubsub, HOST)
    }))

  it('the manager, to another host that it manages for', () =>
    ignored(async (request) => {
      for (const type of ['result', 'error']) play.pubsub.send(forgery(request, { to: MONTAGUE, type }))
      await componentSettled(play.pubsub, MONTAGUE)
    }))

  it('the manager, with another id', () =>
    ignored(async (request) => {
      const { id } = request.wrapper.attrs
      for (const wrong of [
        `${id}0`,
        ` ${id}`,
        // A letter in the other case; the id may have only one.
        (id as string).replace(/[a-z]/i, (c) => (c === c.toUpperCase() ? c.toLowerCase() : c.toUpperCase())),
        `${id}`.replace(/\.(\d+)$/, '.0$1'),
        request.iq.attrs.id,
        'constructor',
        '__proto__',
      ]) {
        play.pubsub.send(forgery(request, { id: wrong as string }))
      }
      await componentSettled(play.pubsub, HOST)
    }))

  it('the manager, as a request', () =>
    ignored(async (request) => {
      for (const type of ['get', 'set']) {
        const error = play.pubsub.next((element) => element.attrs.type === 'error')
        play.pubsub.send(forgery(request, { type }))
        expect(conditionOf(await error)).toBe('service-unavailable')
      }
    }))

  it('the manager, answering for another host with a request of its own pending there', async () => {
    const romeo = await login(play.server.c2sPort, `${ROMEO}/orchard`)
    const here = await asked(HOST, play.juliet)
    const there = await asked(MONTAGUE, romeo)
    play.pubsub.send(goodReply(here.request, FORGED).replace(`to='${HOST}'`, `to='${MONTAGUE}'`))
    play.pubsub.send(goodReply(there.request, FORGED).replace(`to='${MONTAGUE}'`, `to='${HOST}'`))
    await componentSettled(play.pubsub, HOST)
    play.pubsub.send(goodReply(here.request, '<here/>') + goodReply(there.request, '<there/>'))
    expect((await here.answer).getChild('here')).toBeDefined()
    expect((await there.answer).getChild('there')).toBeDefined()
    await romeo.close()
  })
})

describe('F4: the asker and nobody else', () => {
  it('has gone: the answer is dropped', async () => {
    const asker = await login(play.server.c2sPort, `tybalt@${HOST}/street`)
    const other = await login(play.server.c2sPort, `tybalt@${HOST}/square`)
    const { request, answer } = await asked(HOST, asker)
    answer.catch(() => {})
    await asker.destroy()
    play.pubsub.send(goodReply(request, '<late/>'))
    await componentSettled(play.pubsub, HOST)
    await other.settled()
    expect(other.received.filter((element) => element.getName() === 'iq')).toEqual([])
    await other.close()
  })

  it('has gone, and another session has its full JID: it gets neither answer nor error', async () => {
    for (const reply of [goodReply, wrongId]) {
      const asker = await login(play.server.c2sPort, `tybalt@${HOST}/street`)
      const { request, answer } = await asked(HOST, asker)
      answer.catch(() => {})
      const heir = await login(play.server.c2sPort, `tybalt@${HOST}/street`)
      await asker.closed()
      expect(heir.jid).toBe(`tybalt@${HOST}/street`)
      play.pubsub.send(reply(request))
      await componentSettled(play.pubsub, HOST)
      await heir.settled()
      expect(heir.received.filter((element) => element.getName() === 'iq')).toEqual([])
      await heir.close()
    }
  })

  it('a component asks: it is answered at the address that asked', async () => {
    for (const from of [RIVAL, `somebody@${RIVAL}/there`]) {
      const id = newId()
      const answer = play.rival.ask(
        `<iq type='get' id='${id}' from='${from}' to='${JULIET}'><query xmlns='${NS}'/></iq>`,
      )
      const request = await forwardedTo(play.pubsub)
      expect(request.iq.attrs).toMatchObject({ from, to: JULIET })
      play.pubsub.send(goodReply(request, CONTENT))
      expect((await answer).attrs).toMatchObject({ from: JULIET, to: from, type: 'result' })
    }
  })

  it('a component asks in the name of an account: the account gets nothing of it', async () => {
    const id = newId()
    const answer = play.rival.ask(
      `<iq type='get' id='${id}' from='${JULIET}/balcony' to='${HOST}'><query xmlns='${NS}'/></iq>`,
    )
    play.pubsub.send(goodReply(await forwardedTo(play.pubsub), CONTENT))
    expect((await answer).attrs.to).toBe(`${JULIET}/balcony`)
    await play.juliet.settled()
    expect(play.juliet.received.filter((element) => element.getName() === 'iq')).toEqual([])
  })

  it('an account of another host asks, and is answered by the host or account that it asked', async () => {
    const romeo = await login(play.server.c2sPort, `${ROMEO}/orchard`)
    for (const to of [HOST, JULIET]) {
      const { request, answer } = await asked(to, romeo)
      expect(request.wrapper.attrs.from).toBe(HOST)
      expect(request.iq.attrs.from).toBe(`${ROMEO}/orchard`)
      play.pubsub.send(replyText(request, wrapped(innerAnswer(request, { from: undefined }, CONTENT))))
      expect((await answer).attrs).toMatchObject({ from: to, to: `${ROMEO}/orchard` })
    }
    await romeo.close()
  })
})
