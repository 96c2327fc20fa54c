// The PEP service that XEP-0355 and XEP-0356 were written for, as the PEP service of Legate's accounts.

import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { connectComponent } from '../shared/client.ts'
import { conditionOf } from '../shared/delegation.ts'
import { liberviaAvailable } from '../shared/peers/libervia.ts'
import { HEARD, HOST, JULIET, LiberviaPlay, NEWS, ROMEO } from '../shared/peers/libervia-play.ts'
import {
  about,
  accessModel,
  discover,
  featuresIn,
  identitiesIn,
  itemsIn,
  NS_EVENT,
  NS_FORM,
  NS_INFO,
  NS_ITEMS,
  NS_MAM,
  NS_PAM,
  NS_PUBSUB,
  newName,
  notified,
  payload,
  publish,
  pubsub,
  read,
  request,
} from '../shared/peers/libervia-requests.ts'
import { describePeer } from '../shared/require.ts'

describePeer('libervia-pubsub', liberviaAvailable(), () => {
  const play = new LiberviaPlay()
  const kept = newName()

  beforeAll(async () => {
    await play.begin()
    await publish(play.juliet, kept, 'kept', 'steady')
  })
  afterAll(async () => {
    await play.end()
    expect(play.complaints()).toEqual([])
  })

  describe.each([
    ['from the beginning', async () => {}],
    ['after it was killed and started again', () => play.killService().then(() => play.restartService())],
    ['after Legate was killed and started again', () => play.restartLegate()],
  ])('%s', (_, change) => {
    beforeAll(change)

    it('F1, F4: both accounts publish on their own, and everybody reads', async () => {
      const { juliet, romeo } = play
      const node = newName()
      await publish(juliet, node, 'hers', 'in love &amp; "glad" &lt;3')
      await publish(romeo, node, 'his', 'wretched')
      for (const [stream, to] of [
        [juliet, undefined],
        [juliet, JULIET],
        [romeo, JULIET],
      ] as const) {
        expect(await read(stream, to, node)).toEqual([['hers', 'in love & "glad" <3']])
      }
      expect(await read(juliet, ROMEO, node)).toEqual([['his', 'wretched']])
      expect(await read(juliet, undefined, kept)).toEqual([['kept', 'steady']])
    })

    it('F2, F6: the service knows who asks, and its errors come through', async () => {
      const { juliet, romeo } = play
      const node = newName()
      await publish(juliet, node, 'hers', 'calm')
      const item = `<publish node='${node}'><item id='hers'>${payload('false')}</item></publish>`
      const refused = await pubsub(romeo, 'set', JULIET, item)
      expect([refused.attrs.from, conditionOf(refused)]).toEqual([JULIET, 'forbidden'])
      const missing = await pubsub(romeo, 'get', JULIET, `<items node='${newName()}'/>`)
      expect([missing.attrs.from, conditionOf(missing)]).toEqual([JULIET, 'item-not-found'])
      expect(await read(juliet, undefined, node)).toEqual([['hers', 'calm']])
    })

    it("XEP-0356 §5: the contact and the account are notified from the account's bare JID", async () => {
      const { juliet, romeo } = play
      const id = newName()
      await publish(juliet, HEARD, id, 'merry')
      for (const stream of [romeo, juliet]) {
        const message = await notified(stream, HEARD, 'item', id)
        expect(message.attrs.from).toBe(JULIET)
        expect(itemsIn(message.getChild('event', NS_EVENT))).toEqual([[id, 'merry']])
      }
    })

    it('XEP-0356 §7: a contact who comes online is sent the last item', async () => {
      const node = newName()
      await publish(play.juliet, node, 'last', 'sleepy')
      const late = await play.introduce(ROMEO, node)
      onTestFinished(() => late.destroy())
      // The service itself may send it twice.
      const message = await late.next(about(late, node, 'item', 'last'))
      expect([message.attrs.from, message.attrs.to]).toEqual([JULIET, late.jid])
      expect(itemsIn(message.getChild('event', NS_EVENT))).toEqual([['last', 'sleepy']])
    })

    it('XEP-0356 §6: the service subscribes elsewhere in the name of the account', async () => {
      const news = await connectComponent(play.componentPort, NEWS)
      onTestFinished(() => news.destroy())
      const subscribe = `<subscribe xmlns='${NS_PUBSUB}' node='princely' jid='${JULIET}'/>`
      const answer = request(
        play.juliet,
        'set',
        undefined,
        `<pam xmlns='${NS_PAM}' jid='${NEWS}'>${subscribe}</pam>`,
      )
      const asked = await news.next((element) => element.is('iq') && element.attrs.type === 'set')
      expect(asked.attrs.from).toBe(JULIET)
      const attrs = asked.getChild('pubsub', NS_PUBSUB)?.getChild('subscribe')?.attrs
      expect(attrs).toMatchObject({ node: 'princely', jid: JULIET })
      const done = `<pubsub xmlns='${NS_PUBSUB}'><subscription node='princely' jid='${JULIET}' subscription='subscribed'/></pubsub>`
      news.send(`<iq type='result' from='${NEWS}' to='${JULIET}' id='${asked.attrs.id}'>${done}</iq>`)
      expect((await answer).attrs.type).toBe('result')
      const told = await play.juliet.next((element) => element.getChild('notify', NS_PAM) !== undefined)
      expect(told.attrs.from).toBe(JULIET)
    })

    it('D6: nodes are listed, and the items of one', async () => {
      const { juliet, romeo } = play
      const node = newName()
      await publish(juliet, node, 'one', 'first')
      for (const [stream, to] of [
        [juliet, undefined],
        [romeo, JULIET],
      ] as const) {
        const list = (await discover(stream, to, NS_ITEMS)).getChildren('item')
        expect(list.map(({ attrs }) => attrs.node)).toEqual(expect.arrayContaining([kept, node]))
        expect(new Set(list.map(({ attrs }) => attrs.jid))).toEqual(new Set([JULIET]))
        const items = (await discover(stream, to, NS_ITEMS, node)).getChildren('item')
        expect(items.map(({ attrs }) => attrs.name)).toEqual(['one'])
      }
    })

    it("D6: a node's disco#info, for strangers too", async () => {
      const { juliet, romeo, tybalt } = play
      const node = newName()
      await publish(juliet, node, 'one', 'first')
      for (const [stream, to] of [
        [juliet, undefined],
        [romeo, JULIET],
        [tybalt, JULIET],
      ] as const) {
        const query = await discover(stream, to, NS_INFO, node)
        expect(identitiesIn(query)).toEqual(['pubsub/leaf'])
        const fields = query.getChild('x', NS_FORM)!.getChildren('field')
        const values = Object.fromEntries(
          fields.map((field) => [field.attrs.var, field.getChildText('value')]),
        )
        expect(values).toMatchObject({
          FORM_TYPE: `${NS_PUBSUB}#meta-data`,
          'pubsub#node_type': 'leaf',
          'pubsub#access_model': 'open',
        })
      }
    })

    it('D3: the account shows pubsub/pep once, and still account/registered', async () => {
      for (const [stream, to] of [
        [play.juliet, undefined],
        [play.romeo, JULIET],
      ] as const) {
        const query = await discover(stream, to)
        expect(identitiesIn(query).sort()).toEqual(['account/registered', 'pubsub/pep'])
        const features = featuresIn(query)
        expect(features).toEqual(expect.arrayContaining([NS_INFO, `${NS_PUBSUB}#publish`, NS_MAM]))
        expect(new Set(features).size).toBe(features.length)
      }
      const features = featuresIn(await discover(play.juliet, HOST))
      expect(features).toEqual(expect.arrayContaining(['urn:xmpp:delegation:2', `${NS_PUBSUB}#publish`]))
    })

    it('the owner configures a node in #owner: who may read', async () => {
      const { juliet, romeo } = play
      const node = newName()
      await publish(juliet, node, 'one', 'shy')
      const form = await pubsub(juliet, 'get', undefined, `<configure node='${node}'/>`, '#owner')
      const fields = form
        .getChild('pubsub')
        ?.getChild('configure')
        ?.getChild('x', NS_FORM)
        ?.getChildren('field')
      expect(fields?.map(({ attrs }) => attrs.var)).toContain('pubsub#access_model')
      const closed = await pubsub(juliet, 'set', undefined, accessModel(node, 'whitelist'), '#owner')
      expect(closed.attrs.type).toBe('result')
      const refused = await pubsub(romeo, 'get', JULIET, `<items node='${node}'/>`)
      expect(conditionOf(refused)).toBe('forbidden')
      const opened = await pubsub(juliet, 'set', undefined, accessModel(node, 'open'), '#owner')
      expect(opened.attrs.type).toBe('result')
      expect(await read(romeo, JULIET, node)).toEqual([['one', 'shy']])
    })

    it('an item is retracted, and both are told', async () => {
      const { juliet, romeo } = play
      const id = newName()
      await publish(juliet, HEARD, id, 'brief')
      const retract = `<retract node='${HEARD}' notify='true'><item id='${id}'/></retract>`
      expect((await pubsub(juliet, 'set', undefined, retract)).attrs.type).toBe('result')
      for (const stream of [romeo, juliet]) {
        await notified(stream, HEARD, 'item', id)
        expect((await notified(stream, HEARD, 'retract', id)).attrs.from).toBe(JULIET)
      }
      expect((await read(juliet, undefined, HEARD)).map(([item]) => item)).not.toContain(id)
    })

    it('C2: the archive of a node is asked for, and what has no node is not forwarded', async () => {
      const { juliet } = play
      const node = newName()
      await publish(juliet, node, 'one', 'stored')
      // Without a limit this release answers internal-server-error.
      const limit = `<set xmlns='http://jabber.org/protocol/rsm'><max>10</max></set>`
      const ask = (queryid: string, more = '') => {
        const query = `<query xmlns='${NS_MAM}' queryid='${queryid}'${more}>${limit}</query>`
        return request(juliet, 'set', undefined, query)
      }
      const answer = await ask(node, ` node='${node}'`)
      expect(answer.getChild('fin', NS_MAM)?.attrs.complete).toBe('true')
      const message = await juliet.next((element) => element.getChild('result', NS_MAM) !== undefined)
      const result = message.getChild('result')!
      expect([message.attrs.from, result.attrs.queryid, result.attrs.id]).toEqual([HOST, node, 'one'])
      const event = result.getChild('forwarded')?.getChild('message')?.getChild('event', NS_EVENT)
      expect(itemsIn(event)).toEqual([['one', 'stored']])
      const [without, later] = [newName(), newName()]
      expect(conditionOf(await ask(without))).toBe('service-unavailable')
      await pubsub(juliet, 'get', undefined, `<items node='${later}'/>`)
      await play.service.logged(new RegExp(later))
      expect(play.service.log()).not.toContain(without)
    })
  })

  describe('while it is gone', () => {
    beforeAll(() => play.killService())
    afterAll(() => play.restartService())

    it('F7: requests get service-unavailable at once', async () => {
      const { juliet, romeo } = play
      const answers = [
        await pubsub(juliet, 'get', undefined, `<items node='${kept}'/>`),
        await pubsub(romeo, 'get', JULIET, `<configure node='${kept}'/>`, '#owner'),
        await request(romeo, 'get', JULIET, `<query xmlns='${NS_INFO}' node='${kept}'/>`),
      ]
      expect(answers.map(conditionOf)).toEqual(answers.map(() => 'service-unavailable'))
    })

    it('D5: neither account nor host announces it any more', async () => {
      const account = await discover(play.juliet, undefined)
      expect(identitiesIn(account)).toEqual(['account/registered'])
      const features = [...featuresIn(account), ...featuresIn(await discover(play.juliet, HOST))]
      expect(features.filter((name) => name.startsWith(NS_PUBSUB))).toEqual([])
    })
  })
})
