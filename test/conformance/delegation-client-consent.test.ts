/** Client mode: asking an account, and its consent (rules U1, U2, U4). */

import type { Element } from '@xmpp/xml'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { TestStream } from '../shared/client.ts'
import { componentSettled, conditionOf, errorLines } from '../shared/delegation.ts'
import {
  ask,
  challengeOf,
  client,
  closeScene,
  component,
  DEAF,
  fieldOf,
  fieldsOf,
  grant,
  HOST,
  JULIET,
  NS,
  NS2,
  NURSE,
  openScene,
  PUBSUB,
  questionFor,
  RIVAL,
  ROMEO,
  requestFor,
  type Scene,
  submission,
  told,
  unreadQuestions,
  untold,
} from '../shared/delegation-client.ts'

let scene: Scene
let juliet: TestStream
let pubsub: TestStream

/** Opens the scene with the two of them. */
async function open(options: Record<string, unknown> = {}): Promise<void> {
  scene = await openScene(options)
  juliet = await client(scene, `${JULIET}/balcony`)
  pubsub = await component(scene, PUBSUB)
}

/** What of an error tells something: all but its id and addresses. */
const errorText = (answer: Element): string => answer.getChild('error')?.toString() ?? answer.toString()

afterEach(async () => {
  await closeScene(scene)
  expect(errorLines(scene.server)).toEqual([])
})

describe('off by default', () => {
  it('without the option nobody is asked, and there is no command', async () => {
    await open({ delegation_client_mode: false })
    expect(conditionOf(await requestFor(pubsub, JULIET))).toBe('service-unavailable')
    await juliet.settled()
    expect(unreadQuestions(juliet)).toEqual([])
    expect(scene.server.server.hosts.get(HOST)!.items.get('adhoc')).toEqual([])
    juliet.send(submission('x', { [NS]: '1' }))
    expect(conditionOf(await juliet.named('message'))).toBe('service-unavailable')
  })
})

describe('U1: asking', () => {
  beforeEach(() => open())

  it('U1: the account gets a message from the host with the form', async () => {
    expect((await requestFor(pubsub, JULIET, [NS, NS2])).attrs['type']).toBe('result')
    const question = await questionFor(juliet)
    expect(question.attrs).toMatchObject({ from: HOST, to: juliet.jid })
    expect(question.getChildText('body')).toContain(PUBSUB)
    expect(question.getChildText('body')).toMatch(/Be careful/)
    expect(fieldOf(question, 'FORM_TYPE')!.attrs['type']).toBe('hidden')
    expect(fieldOf(question, 'FORM_TYPE')!.getChildText('value')).toBe('urn:xmpp:delegation:2')
    expect(fieldOf(question, 'challenge')!.attrs['type']).toBe('hidden')
    expect(challengeOf(question)).toMatch(/^[\w-]{20,}$/)
    for (const namespace of [NS, NS2]) {
      const field = fieldOf(question, namespace)!
      expect(field.attrs).toMatchObject({ type: 'list-single' })
      expect(field.attrs['label']).toContain(namespace)
      expect(field.getChildText('value')).toBe('0')
      expect(field.getChildren('option').map((option) => option.getChildText('value'))).toEqual(['0', '1'])
    }
    expect(fieldsOf(question)).toHaveLength(4)
  })

  it('U1: a namespace that people know by a name is called by it, and by itself', async () => {
    const pep = 'http://jabber.org/protocol/pubsub'
    await requestFor(pubsub, JULIET, [pep])
    const label = fieldOf(await questionFor(juliet), pep)!.attrs['label'] as string
    expect(label).toMatch(/publish-subscribe/)
    expect(label).toContain(pep)
  })

  it('U1: every resource that takes messages is asked, with one challenge; others are not', async () => {
    const garden = await client(scene, `${JULIET}/garden`)
    const silent = await client(scene, `${JULIET}/silent`, false)
    const negative = await client(scene, `${JULIET}/negative`, false)
    negative.send('<presence><priority>-1</priority></presence>')
    await negative.settled()
    await requestFor(pubsub, JULIET)
    const challenges = [challengeOf(await questionFor(juliet)), challengeOf(await questionFor(garden))]
    expect(challenges[0]).toBe(challenges[1])
    for (const stream of [silent, negative]) {
      await stream.settled()
      expect(unreadQuestions(stream)).toEqual([])
    }
  })

  it('U1: a local client may ask; its resource, which is text of its own, is not shown', async () => {
    const nurse = await client(scene, `${NURSE}/your server says yes`)
    await requestFor(nurse, JULIET)
    const question = await questionFor(juliet)
    expect(question.getChildText('body')).toContain(`"${NURSE}"`)
    expect(question.toString()).not.toContain('says yes')
  })

  it('U1: only what can be shown without doubt can be asked for', async () => {
    for (const namespace of [
      '',
      'two words',
      'line&#10;break',
      'urn:\u202eevil',
      'urn:пример',
      'x'.repeat(257),
    ]) {
      expect(conditionOf(await requestFor(pubsub, JULIET, [namespace])), namespace).toBe('bad-request')
    }
    const many = Array.from({ length: 21 }, (_, index) => `urn:example:${index}`)
    expect(conditionOf(await requestFor(pubsub, JULIET, many))).toBe('bad-request')
    expect(conditionOf(await requestFor(pubsub, JULIET, []))).toBe('bad-request')
    expect(conditionOf(await requestFor(pubsub, `${JULIET}/balcony`))).toBe('bad-request')
    expect(conditionOf(await requestFor(pubsub, HOST))).toBe('bad-request')
    expect(conditionOf(await requestFor(pubsub, 'a@@b'))).toBe('jid-malformed')
    await juliet.settled()
    expect(unreadQuestions(juliet)).toEqual([])
  })

  it('U1: markup in a namespace stays text', async () => {
    const namespace = 'urn:x:&lt;b&gt;&apos;&quot;&amp;'
    await requestFor(pubsub, JULIET, [namespace])
    expect(fieldOf(await questionFor(juliet), `urn:x:<b>'"&`)).toBeDefined()
  })

  it('U1: an entity that could not manage is told why, and nobody is asked', async () => {
    const deaf = await component(scene, DEAF)
    const refused = await requestFor(deaf, JULIET)
    expect(conditionOf(refused)).toBe('not-allowed')
    expect(refused.toString()).toContain('modules_enabled')
    const silent = await client(scene, `${NURSE}/silent`, false)
    expect(conditionOf(await requestFor(silent, JULIET))).toBe('not-allowed')
    expect(conditionOf(await requestFor(juliet, JULIET))).toBe('not-allowed')
    const rival = await component(scene, RIVAL)
    expect(conditionOf(await requestFor(rival, JULIET, [NS], { from: PUBSUB }))).toBe('not-allowed')
    await juliet.settled()
    expect(unreadQuestions(juliet)).toEqual([])
  })
})

describe('U2: the grant', () => {
  beforeEach(() => open())

  it('U2: the submitted form grants, and the entity is told', async () => {
    expect(await grant(pubsub, juliet)).toEqual({ account: JULIET, namespaces: [NS] })
  })

  it('U2: a form with the empty FORM_TYPE of the example in XEP-0355 §5.1 is taken', async () => {
    await requestFor(pubsub, JULIET)
    juliet.send(submission(challengeOf(await questionFor(juliet)), { [NS]: '1' }, { formType: '' }))
    expect(await told(pubsub)).toEqual({ account: JULIET, namespaces: [NS] })
  })

  it('U2: only namespaces that were asked for, with the value 1', async () => {
    await requestFor(pubsub, JULIET, [NS, NS2])
    const values = { [NS]: '1', [NS2]: '0', 'urn:example:more': '1', 'jabber:iq:register': '1' }
    juliet.send(submission(challengeOf(await questionFor(juliet)), values))
    expect(await told(pubsub)).toEqual({ account: JULIET, namespaces: [NS] })
    expect(conditionOf(await ask(juliet, HOST, 'urn:example:more'))).toBe('service-unavailable')
  })

  it.each([
    ['the value 0', { [NS]: '0' }, 'submit'],
    ['no value', {}, 'submit'],
    ['true, which is no value of the form', { [NS]: 'true' }, 'submit'],
    ['a cancelled form', { [NS]: '1' }, 'cancel'],
  ])('U2: %s is a refusal, told with an empty list', async (_what, values, type) => {
    await requestFor(pubsub, JULIET)
    juliet.send(
      submission(challengeOf(await questionFor(juliet)), values as Record<string, string>, { type }),
    )
    expect(await told(pubsub)).toEqual({ account: JULIET, namespaces: [] })
  })

  it('U2: once: the same form again changes nothing', async () => {
    await requestFor(pubsub, JULIET)
    const challenge = challengeOf(await questionFor(juliet))
    juliet.send(submission(challenge, { [NS]: '0' }))
    expect((await told(pubsub)).namespaces).toEqual([])
    juliet.send(submission(challenge, { [NS]: '1' }))
    expect(conditionOf(await juliet.named('message'))).toBe('item-not-found')
    await componentSettled(pubsub, HOST)
    expect(untold(pubsub)).toEqual([])
  })

  it('U2: another account, the entity itself, and a component in the name of the account do not consent', async () => {
    const nurse = await client(scene, `${NURSE}/room`)
    const romeo = await client(scene, `${ROMEO}/orchard`)
    const rival = await component(scene, RIVAL)
    await requestFor(rival, JULIET)
    const challenge = challengeOf(await questionFor(juliet))
    for (const stranger of [nurse, romeo]) {
      stranger.send(submission(challenge, { [NS]: '1' }))
      expect(conditionOf(await stranger.named('message'))).toBe('item-not-found')
    }
    for (const from of [RIVAL, JULIET, `${JULIET}/balcony`]) {
      rival.send(submission(challenge, { [NS]: '1' }, { attrs: `from='${from}'` }))
      expect(conditionOf(await rival.named('message'))).toBe('item-not-found')
    }
    // The true account still can.
    juliet.send(submission(challenge, { [NS]: '1' }))
    expect((await told(rival)).namespaces).toEqual([NS])
  })

  it('U2: a challenge that was made up, a form without one, and a doubled field grant nothing', async () => {
    await requestFor(pubsub, JULIET)
    const challenge = challengeOf(await questionFor(juliet))
    juliet.send(submission('5439123', { [NS]: '1' }))
    expect(conditionOf(await juliet.named('message'))).toBe('item-not-found')
    juliet.send(`<message to='${HOST}' id='m1'><x xmlns='jabber:x:data' type='submit'/></message>`)
    expect(conditionOf(await juliet.withId('m1'))).toBe('service-unavailable')
    const twice = submission(challenge, { [NS]: '0' }).replace(
      '</x>',
      `<field var='${NS}'><value>1</value></field></x>`,
    )
    juliet.send(twice)
    expect(conditionOf(await juliet.named('message'))).toBe('service-unavailable')
    const other = submission(challenge, { [NS]: '1' }, { formType: 'urn:example:form' })
    juliet.send(other)
    expect(conditionOf(await juliet.named('message'))).toBe('service-unavailable')
    await componentSettled(pubsub, HOST)
    expect(untold(pubsub)).toEqual([])
  })

  it('U2: the challenge of one entity grants nothing to another', async () => {
    const rival = await component(scene, RIVAL)
    await requestFor(pubsub, JULIET, [NS])
    const first = challengeOf(await questionFor(juliet))
    await requestFor(rival, JULIET, [NS2])
    const second = challengeOf(await questionFor(juliet))
    expect(first).not.toBe(second)
    juliet.send(submission(first, { [NS]: '1', [NS2]: '1' }))
    expect((await told(pubsub)).namespaces).toEqual([NS])
    await componentSettled(rival, HOST)
    expect(untold(rival)).toEqual([])
  })

  it('U2: what it manages already is not asked for again; the entity is told its list', async () => {
    await grant(pubsub, juliet)
    expect((await requestFor(pubsub, JULIET)).attrs['type']).toBe('result')
    expect(await told(pubsub)).toEqual({ account: JULIET, namespaces: [NS] })
    await juliet.settled()
    expect(unreadQuestions(juliet)).toEqual([])
    expect(await grant(pubsub, juliet, [NS2])).toEqual({ account: JULIET, namespaces: [NS, NS2] })
  })

  it('U2: a second entity takes the place of the first, which the form says and the first is told', async () => {
    await grant(pubsub, juliet)
    const rival = await component(scene, RIVAL)
    await requestFor(rival, JULIET)
    const question = await questionFor(juliet)
    expect(fieldOf(question, NS)!.attrs['label']).toContain(`instead of "${PUBSUB}"`)
    juliet.send(submission(challengeOf(question), { [NS]: '1' }))
    expect(await told(rival)).toEqual({ account: JULIET, namespaces: [NS] })
    expect(await told(pubsub)).toEqual({ account: JULIET, namespaces: [] })
  })

  it('U2: the account leaves without an answer: that is a refusal, and its challenge is worth nothing', async () => {
    await requestFor(pubsub, JULIET)
    const challenge = challengeOf(await questionFor(juliet))
    await juliet.close()
    expect(await told(pubsub)).toEqual({ account: JULIET, namespaces: [] })
    const again = await client(scene, `${JULIET}/balcony`)
    again.send(submission(challenge, { [NS]: '1' }))
    expect(conditionOf(await again.named('message'))).toBe('item-not-found')
  })
})

describe('U2: delegation_consent_timeout', () => {
  it('U2: an answer that comes later grants nothing; the entity is told of the refusal', async () => {
    await open({ delegation_consent_timeout: 1 })
    await requestFor(pubsub, JULIET)
    const challenge = challengeOf(await questionFor(juliet))
    expect(await told(pubsub)).toEqual({ account: JULIET, namespaces: [] })
    juliet.send(submission(challenge, { [NS]: '1' }))
    expect(conditionOf(await juliet.named('message'))).toBe('item-not-found')
    await componentSettled(pubsub, HOST)
    expect(untold(pubsub)).toEqual([])
  })
})

describe('U4: what may be asked', () => {
  it('U4: the delegation namespace: forbidden, with whatever else', async () => {
    await open()
    expect(conditionOf(await requestFor(pubsub, JULIET, ['urn:xmpp:delegation:2']))).toBe('forbidden')
    expect(conditionOf(await requestFor(pubsub, JULIET, [NS, 'urn:xmpp:delegation:2']))).toBe('forbidden')
    expect(conditionOf(await requestFor(pubsub, `nobody@${HOST}`, ['urn:xmpp:delegation:2']))).toBe(
      'forbidden',
    )
    await juliet.settled()
    expect(unreadQuestions(juliet)).toEqual([])
  })

  it.each([
    ['allow', { allow: [NS] }],
    ['deny', { deny: [NS2] }],
  ])(
    'U4: delegation_client_namespaces.%s: the rest is shown as refused, and can not be granted',
    async (_name, limits) => {
      await open({ delegation_client_namespaces: limits })
      await requestFor(pubsub, JULIET, [NS, NS2])
      const question = await questionFor(juliet)
      const refused = fieldOf(question, NS2)!
      expect(refused.getChildText('value')).toBe('0')
      expect(refused.getChildren('option').map((option) => option.getChildText('value'))).toEqual(['0'])
      juliet.send(submission(challengeOf(question), { [NS]: '1', [NS2]: '1' }))
      expect((await told(pubsub)).namespaces).toEqual([NS])
      // With nothing left to decide, the account is not disturbed.
      expect((await requestFor(pubsub, JULIET, [NS2])).attrs['type']).toBe('result')
      expect((await told(pubsub)).namespaces).toEqual([NS])
      await juliet.settled()
      expect(unreadQuestions(juliet)).toEqual([])
    },
  )

  it.each([
    'jabber:iq:register',
    'jabber:iq:auth',
    'jabber:iq:roster',
    'jabber:iq:privacy',
    'urn:xmpp:blocking',
    'urn:ietf:params:xml:ns:xmpp-bind',
    'urn:ietf:params:xml:ns:xmpp-session',
    'urn:ietf:params:xml:ns:xmpp-sasl',
    'urn:xmpp:sasl:2',
    'http://jabber.org/protocol/commands',
    'http://jabber.org/protocol/disco#info',
    'http://jabber.org/protocol/disco#items',
    'urn:xmpp:delegation:2:bare:disco#info:*',
    'urn:xmpp:privilege:2',
  ])('U4: %s is vital to the account: never, even where it is allowed', async (namespace) => {
    await open({ delegation_client_namespaces: { allow: [namespace] } })
    expect((await requestFor(pubsub, JULIET, [namespace])).attrs['type']).toBe('result')
    expect((await told(pubsub)).namespaces).toEqual([])
    await juliet.settled()
    expect(unreadQuestions(juliet)).toEqual([])
  })

  it('U4: no such account, one that is away, one that takes no messages, another host: the same error', async () => {
    await open()
    await client(scene, `${NURSE}/silent`, false)
    const nobody = errorText(await requestFor(pubsub, `nobody@${HOST}`))
    expect(nobody).toContain('service-unavailable')
    expect(errorText(await requestFor(pubsub, NURSE))).toBe(nobody)
    expect(errorText(await requestFor(pubsub, ROMEO))).toBe(nobody)
    expect(errorText(await requestFor(pubsub, 'someone@example.net'))).toBe(nobody)
    await juliet.close()
    expect(errorText(await requestFor(pubsub, JULIET))).toBe(nobody)
    // Nor does it tell anything when there is nothing to decide.
    expect(errorText(await requestFor(pubsub, JULIET, ['jabber:iq:register']))).toBe(nobody)
  })
})

describe('U4: limits', () => {
  beforeEach(() => open())

  it('U4: one question of an entity at a time, from whichever of its resources', async () => {
    await requestFor(pubsub, JULIET)
    expect(conditionOf(await requestFor(pubsub, JULIET, [NS2]))).toBe('resource-constraint')
    await questionFor(juliet)
    const [room, hall] = [await client(scene, `${NURSE}/room`), await client(scene, `${NURSE}/hall`)]
    await requestFor(room, JULIET)
    expect(conditionOf(await requestFor(hall, JULIET))).toBe('resource-constraint')
    await questionFor(juliet)
    await juliet.settled()
    expect(unreadQuestions(juliet)).toEqual([])
  })

  it('U4: one entity asks an account ten times in ten minutes, whether or not it exists', async () => {
    for (let i = 0; i < 10; i++) {
      await requestFor(pubsub, JULIET)
      juliet.send(submission(challengeOf(await questionFor(juliet)), { [NS]: '0' }))
      await told(pubsub)
      expect(conditionOf(await requestFor(pubsub, `nobody@${HOST}`))).toBe('service-unavailable')
    }
    const limited = errorText(await requestFor(pubsub, JULIET))
    expect(limited).toContain('resource-constraint')
    expect(errorText(await requestFor(pubsub, `nobody@${HOST}`))).toBe(limited)
  })

  it('U4: an entity asks sixty times a minute, whomever', async () => {
    for (let i = 0; i < 60; i++) {
      expect(conditionOf(await requestFor(pubsub, `nobody${i}@${HOST}`))).toBe('service-unavailable')
    }
    expect(conditionOf(await requestFor(pubsub, JULIET))).toBe('resource-constraint')
    const rival = await component(scene, RIVAL)
    expect((await requestFor(rival, JULIET)).attrs['type']).toBe('result')
  })

  it('U4: an account has five questions before it at a time; a sixth tells nothing about it', async () => {
    for (let i = 0; i < 5; i++) {
      await scene.server.addUser(`bot${i}@${HOST}`)
      const bot = await client(scene, `bot${i}@${HOST}/bot`)
      expect((await requestFor(bot, JULIET)).attrs['type']).toBe('result')
    }
    const sixth = errorText(await requestFor(pubsub, JULIET))
    expect(sixth).toBe(errorText(await requestFor(pubsub, `nobody@${HOST}`)))
  })
})
