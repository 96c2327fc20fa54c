/** Managers that answer service discovery wrongly, late, not at all, or for somebody else (rules D2, D3, D5). */

import type { Element } from '@xmpp/xml'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { NS_DATA, NS_DISCO_INFO, NS_DISCO_ITEMS } from '../../server/stanza/namespaces.ts'
import { connectComponent, login, type TestStream } from '../shared/client.ts'
import { componentSettled, errorLines, forwardedTo, goodReply } from '../shared/delegation.ts'
import {
  announcement,
  bareNode,
  feature,
  form,
  hostNode,
  identity,
  infoOf,
  questionAbout,
  type Seen,
} from '../shared/delegation-discovery.ts'
import { startServer, type TestServer } from '../shared/server.ts'

const HOST = 'capulet.lit'
const PUBSUB = `pubsub.${HOST}`
const RIVAL = `rival.${HOST}`
const JULIET = `juliet@${HOST}`
const NS = 'urn:example:thing'
const SLOW = 'urn:example:slow'
const TRUE = 'urn:example:true'
const FALSE = 'urn:example:false'

let server: TestServer
let juliet: TestStream
let pubsub: TestStream
let before: Seen[]

/** What everybody is told, of the host and of an account. */
const seen = async (): Promise<Seen[]> => [await infoOf(juliet, HOST), await infoOf(juliet, JULIET)]
const contents = (all: Seen[]): string[] => all.map(({ answer }) => answer.getChild('query')!.toString())

beforeEach(async () => {
  const component = { component_secret: 'secret', modules_enabled: ['delegation'] }
  const shared = { ...component, component_conflict_resolve: 'share' as const }
  server = await startServer(
    {
      virtualHosts: {
        [HOST]: { delegations: { [NS]: { jid: PUBSUB }, [SLOW]: { jid: PUBSUB, timeout: 0.3 } } },
      },
      components: { [PUBSUB]: shared, [RIVAL]: { ...component, validate_from_addresses: false } },
    },
    [JULIET, `tybalt@${HOST}`],
  )
  juliet = await login(server.c2sPort, `${JULIET}/balcony`)
  pubsub = await connectComponent(server.componentPort, PUBSUB)
  before = await seen()
})

afterEach(async () => {
  for (const stream of [juliet, pubsub]) await stream.destroy()
  await server.stop()
  expect(errorLines(server)).toEqual([])
})

/** Answers both questions about the namespace. */
async function answerBoth(change: (question: Element) => string): Promise<void> {
  for (const node of [hostNode(NS), bareNode(NS)]) pubsub.send(change(await questionAbout(pubsub, node)))
  await componentSettled(pubsub, HOST)
}

describe('D3: of an answer only what service discovery knows is passed on', () => {
  const JUNK: [what: string, content: string][] = [
    ['elements of other namespaces', `<evil xmlns='urn:evil'/><feature xmlns='urn:evil' var='${FALSE}'/>`],
    ['elements that are not its', `<item jid='${HOST}' node='x'/><query node='x'/><error/><set/>`],
    ['elements of other namespaces by a prefix', `<p:feature xmlns:p='urn:evil' var='${FALSE}'/>`],
    ['an identity in another namespace', `<identity xmlns='${NS_DISCO_ITEMS}' category='a' type='b'/>`],
    ['text', `${FALSE}<![CDATA[<feature var='${FALSE}'/>]]>`],
    [
      'parts that lack something',
      `<feature/><feature var=''/><identity/><identity category='a'/><identity type='b'/>`,
    ],
    [
      'attributes with another name',
      `<p:feature xmlns:p='${NS_DISCO_INFO}' p:var='${FALSE}'/><feature VAR='${FALSE}'/>`,
    ],
    [
      'a form without FORM_TYPE',
      `<x xmlns='${NS_DATA}' type='result'><field var='a'><value>b</value></field></x>`,
    ],
    ['a form to be filled in', form(FALSE).replace(`type='result'`, `type='form'`)],
    ['a form of no type', form(FALSE).replace(` type='result'`, '')],
    ['a form whose FORM_TYPE is not hidden', form(FALSE).replace(`type='hidden'`, `type='text-single'`)],
    [
      'a form whose FORM_TYPE has two values',
      form(FALSE).replace('</value>', `</value><value>${TRUE}</value>`),
    ],
    ['a form whose FORM_TYPE is empty', form('')],
    ['a form whose FORM_TYPE is elsewhere', form(FALSE).replace('<field', `<field xmlns='urn:evil'`)],
    ['a form in another namespace', form(FALSE).replace(NS_DATA, 'jabber:x:dat')],
  ]

  it.each(JUNK)('%s: left out, the rest stands', async (_, content) => {
    await answerBoth((question) => announcement(question, `${content}${feature(TRUE)}${content}`))
    for (const [index, { features, identities, forms, answer }] of (await seen()).entries()) {
      expect(features).toEqual([...before[index]!.features, TRUE])
      expect(identities).toEqual(before[index]!.identities)
      expect(forms).toEqual([])
      expect(answer.getChild('query')!.getChildElements()).toHaveLength(features.length + identities.length)
      expect(answer.getChild('query')!.getText()).toBe('')
    }
  })

  it('attributes and children that do not belong there do not come along', async () => {
    const content =
      `<feature var='${TRUE}' xmlns:e='urn:evil' e:x='y' onload='z'><evil xmlns='urn:evil'/>text</feature>` +
      `<identity category='a' type='b' name='c' evil='d'><x/></identity>` +
      `<x xmlns='${NS_DATA}' type='result' evil='x'><title>T</title><instructions>I</instructions><evil/>` +
      `<field var='FORM_TYPE' type='hidden'><value e='f'>${TRUE}<b/></value></field><field><value>fixed</value></field>` +
      `<field var='a' type='evil' xmlns:e='urn:evil' e:x='y'><value>1</value><option><value>2</value></option>` +
      `<evil xmlns='urn:evil'/></field><field var='a'><value>twice</value></field></x>`
    await answerBoth((question) => announcement(question, content))
    for (const { answer, forms, identities } of await seen()) {
      const text = answer.toString()
      for (const word of [
        'evil',
        'onload',
        'text<',
        '<title',
        '<instructions',
        'option',
        'twice',
        'fixed',
        '<b',
      ]) {
        expect(text).not.toContain(word)
      }
      expect(identities).toContain('a/b/c')
      expect(forms.map((x) => x.getChildren('field').map(({ attrs }) => ({ ...attrs })))).toEqual([
        [{ var: 'FORM_TYPE', type: 'hidden' }, { var: 'a' }],
      ])
      expect(
        forms[0]!
          .getChildren('field')[1]!
          .getChildren('value')
          .map((value) => value.getText()),
      ).toEqual(['1'])
    }
  })

  it('names that look like mark-up or like a property of every object are names', async () => {
    const names = [`'/><evil xmlns='urn:evil'/>`, ']]>', '__proto__', 'constructor', 'a"b&c', 'é😀']
    const text = names.map(feature).join('') + identity('__proto__', 'constructor', `<'">`)
    await answerBoth((question) => announcement(question, text))
    for (const { features, identities, answer } of await seen()) {
      expect(features).toEqual(expect.arrayContaining(names))
      expect(identities).toContain(`__proto__/constructor/<'">`)
      expect(answer.getChild('query')!.getChild('evil')).toBeUndefined()
    }
  })

  it('prefixes that the answer declares itself are understood', async () => {
    await answerBoth((question) =>
      announcement(question, `<d:feature var='${TRUE}'/>`)
        .replace('<iq', `<iq xmlns:d='${NS_DISCO_INFO}'`)
        .replace(/<query xmlns='[^']*'/, '<d:query')
        .replace('</query>', '</d:query>'),
    )
    for (const { features } of await seen()) expect(features).toContain(TRUE)
  })
})

describe('D2: an answer that is none changes nothing, and is logged', () => {
  const good = (question: Element): string => announcement(question, feature(FALSE) + identity('a', 'b'))
  const WRONG: [what: string, change: (question: Element) => string, words: string][] = [
    [
      'an error',
      (question) => good(question).replace(`type='result'`, `type='error'`),
      'announces nothing for a node',
    ],
    ['about another node', (question) => good(question).replace(NS, SLOW), 'it is about another node'],
    ['about no node', (question) => good(question).replace(/ node='[^']*'/, ''), 'it is about another node'],
    [
      'of disco#items',
      (question) => good(question).replace(NS_DISCO_INFO, NS_DISCO_ITEMS),
      'instead of a <query/>',
    ],
    [
      'with a second child',
      (question) => good(question).replace('</iq>', '<query/></iq>'),
      'it has 2 children',
    ],
    ['empty', (question) => good(question).replace(/<query.*<\/query>/, ''), 'it has 0 children'],
    [
      'of 33,000 characters',
      (question) => announcement(question, feature(FALSE) + feature('x'.repeat(33_000))),
      'characters',
    ],
    [
      'of few that are many when written',
      (question) => announcement(question, `<feature var="${"'".repeat(20_000)}"/>`),
      'it would be',
    ],
    [
      'of 401 elements',
      (question) => announcement(question, '<x/>'.repeat(400) + feature(FALSE)),
      'it has 401 elements',
    ],
  ]

  it.each(WRONG)('%s', async (_, change, words) => {
    await answerBoth(change)
    expect(contents(await seen())).toEqual(contents(before))
    const line = await server.logged(words)
    expect(line).toContain(PUBSUB)
    expect(line.length).toBeLessThan(1000)
    // The manager goes on managing.
    const answer = juliet.ask(`<iq type='get' id='still' to='${HOST}'><query xmlns='${NS}'/></iq>`)
    pubsub.send(goodReply(await forwardedTo(pubsub)))
    expect((await answer).attrs.type).toBe('result')
  })

  it('after a good one: the good one stays', async () => {
    await answerBoth(
      (question) => announcement(question, feature(TRUE)) + announcement(question, feature(FALSE)),
    )
    for (const { features } of await seen()) {
      expect(features).toContain(TRUE)
      expect(features).not.toContain(FALSE)
    }
  })

  it('silence: logged, and what comes later is dropped', async () => {
    const questions = [
      await questionAbout(pubsub, hostNode(SLOW)),
      await questionAbout(pubsub, bareNode(SLOW)),
    ]
    await answerBoth((question) => announcement(question, feature(TRUE)))
    for (const node of [hostNode(SLOW), bareNode(SLOW)]) {
      const line = await server.logged(`does not say what it announces`)
      expect(line).toContain(PUBSUB)
      expect(server.log.join('\n')).toContain(node)
    }
    for (const question of questions) pubsub.send(announcement(question, feature(FALSE)))
    await componentSettled(pubsub, HOST)
    for (const { features } of await seen()) {
      expect(features).toContain(TRUE)
      expect(features).not.toContain(FALSE)
    }
  })

  it('D5: of a connection that has gone, by the next one: dropped', async () => {
    const questions = [await questionAbout(pubsub, hostNode(NS)), await questionAbout(pubsub, bareNode(NS))]
    await pubsub.destroy()
    await server.logged('component disconnected')
    pubsub = await connectComponent(server.componentPort, PUBSUB)
    for (const question of questions) pubsub.send(announcement(question, feature(FALSE)))
    await componentSettled(pubsub, HOST)
    expect(contents(await seen())).toEqual(contents(before))
    await answerBoth((question) => announcement(question, feature(TRUE)))
    for (const { features } of await seen()) expect(features).toContain(TRUE)
  })

  it('D5: whoever has gone is not said to be silent', async () => {
    await pubsub.destroy()
    await server.logged('component disconnected')
    pubsub = await connectComponent(server.componentPort, PUBSUB)
    for (const node of [hostNode(SLOW), bareNode(SLOW)]) {
      pubsub.send(announcement(await questionAbout(pubsub, node), ''))
    }
    // What was asked before this would have been given up before it.
    const late = juliet.ask(`<iq type='get' id='late' to='${HOST}'><query xmlns='${SLOW}'/></iq>`)
    expect((await late).attrs.type).toBe('error')
    expect(server.log.filter((line) => line.includes('does not say what it announces'))).toEqual([])
  })
})

describe('D2: only the connection that was asked may answer', () => {
  /** Somebody answers who was not asked; then the manager does. */
  async function forge(send: (answer: string) => Promise<void>): Promise<void> {
    const questions = [await questionAbout(pubsub, hostNode(NS)), await questionAbout(pubsub, bareNode(NS))]
    for (const question of questions) await send(announcement(question, feature(FALSE)))
    expect(contents(await seen())).toEqual(contents(before))
    for (const question of questions) pubsub.send(announcement(question, feature(TRUE)))
    await componentSettled(pubsub, HOST)
    for (const { features } of await seen()) {
      expect(features).toContain(TRUE)
      expect(features).not.toContain(FALSE)
    }
  }

  it('not a component that sends from the manager’s address', async () => {
    const rival = await connectComponent(server.componentPort, RIVAL)
    await forge(async (answer) => {
      rival.send(answer)
      rival.send(answer.replace(`from='${PUBSUB}'`, `from='${RIVAL}'`))
      rival.send(answer.replace(`type='result'`, `type='error'`))
      await componentSettled(rival, HOST)
    })
    expect(await server.logged('from somebody who was not asked')).toContain(PUBSUB)
    await rival.destroy()
  })

  it('not a client', async () => {
    const tybalt = await login(server.c2sPort, `tybalt@${HOST}/street`)
    await forge(async (answer) => {
      tybalt.send(answer.replace(/ from='[^']*'/, ''))
      await tybalt.settled()
    })
    await tybalt.destroy()
  })

  it('not another address of the manager, and not for a resource of the host', async () => {
    await forge(async (answer) => {
      pubsub.send(answer.replace(`from='${PUBSUB}'`, `from='${PUBSUB}/x'`))
      pubsub.send(answer.replace(`from='${PUBSUB}'`, `from='x@${PUBSUB}'`))
      pubsub.send(answer.replace(`to='${HOST}'`, `to='${HOST}/x'`))
      await componentSettled(pubsub, HOST)
    })
  })

  it('not another connection of the manager', async () => {
    const second = await connectComponent(server.componentPort, PUBSUB)
    await forge(async (answer) => {
      second.send(answer)
      await componentSettled(second, HOST)
    })
    await second.destroy()
  })
})
