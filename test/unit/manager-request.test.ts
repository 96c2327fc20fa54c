// legate/manager: whose request a wrapper holds, and whether its host may forward it (XEP-0355 §4).

import type { Element } from '@xmpp/xml'
import { describe, expect, expectTypeOf, it } from 'vitest'
import type { AccountJid, AskerJid, DelegatedRequest } from '../../manager/index.ts'
import { type ForwardedRequest, type Refusal, readForwarded } from '../../manager/request.ts'
import { parse } from '../shared/parse.ts'

const HOST = 'capulet.lit'
const PAYLOAD = "<notes xmlns='urn:example:notes'/>"

function wrapper(content: string): Element {
  return parse(`<iq xmlns='jabber:component:accept' type='set' id='w' from='${HOST}' to='m'>${content}</iq>`)
}

function wrapped(iq: string): Element {
  return wrapper(
    `<delegation xmlns='urn:xmpp:delegation:2'><forwarded xmlns='urn:xmpp:forward:0'>${iq}</forwarded></delegation>`,
  )
}

function read(attrs: string, payload = PAYLOAD): ForwardedRequest | Refusal {
  return readForwarded(wrapped(`<iq xmlns='jabber:client' ${attrs}>${payload}</iq>`), HOST)
}

function requestOf(result: ForwardedRequest | Refusal): ForwardedRequest['request'] {
  if ('condition' in result) throw new Error(result.reason)
  return result.request
}

function conditionOf(result: ForwardedRequest | Refusal): string {
  return 'condition' in result ? result.condition : 'accepted'
}

describe('whose request it is', () => {
  it('F1: without `to`, the account is the asker’s own', () => {
    const request = requestOf(read(`type='get' id='1' from='juliet@${HOST}/balcony' xml:lang='it'`))
    expect(request).toMatchObject({
      type: 'get',
      asker: `juliet@${HOST}/balcony`,
      askerBare: `juliet@${HOST}`,
      account: `juliet@${HOST}`,
      own: true,
      host: HOST,
      namespace: 'urn:example:notes',
      lang: 'it',
    })
  })

  it('F1: with the own bare JID as `to`, it is own as well, however the JIDs are spelt', () => {
    const request = requestOf(
      read(`type='set' id='1' from='Juliet@Capulet.lit/Balcony' to='juliet@capulet.LIT'`),
    )
    expect(request).toMatchObject({
      asker: `juliet@${HOST}/Balcony`,
      account: `juliet@${HOST}`,
      own: true,
    })
  })

  it('F1: another account’s, the host’s, a remote asker’s and a component’s are not own', () => {
    for (const [from, to] of [
      [`romeo@${HOST}/garden`, `juliet@${HOST}`],
      [`juliet@${HOST}/balcony`, HOST],
      ['mallory@evil.example/x', `juliet@${HOST}`],
      ['juliet@evil.example/x', `juliet@${HOST}`],
      ['pubsub.capulet.lit', `juliet@${HOST}`],
      [HOST, HOST],
    ]) {
      const request = requestOf(read(`type='get' id='1' from='${from}' to='${to}'`))
      expect(request).toMatchObject({ asker: from, account: to, own: false })
    }
  })

  it('takes prefixes as namespaces have them', () => {
    const iq =
      `<c:iq xmlns:c='jabber:client' xmlns:n='urn:example:notes' type='get' id='1' ` +
      `from='juliet@${HOST}/balcony'><n:notes/></c:iq>`
    expect(requestOf(readForwarded(wrapped(iq), HOST)).namespace).toBe('urn:example:notes')
  })
})

describe('what a host may not forward', () => {
  it('is asked of somebody who is not its own: forbidden', () => {
    for (const to of ['juliet@montague.lit', 'montague.lit', `juliet@sub.${HOST}`, 'juliet@lit']) {
      expect(conditionOf(read(`type='get' id='1' from='juliet@${HOST}/balcony' to='${to}'`))).toBe(
        'forbidden',
      )
    }
  })

  it('is from an account of another host, about that account: forbidden', () => {
    expect(conditionOf(read(`type='get' id='1' from='romeo@montague.lit/garden'`))).toBe('forbidden')
  })

  it('F1: is to a full JID: forbidden', () => {
    for (const to of [`juliet@${HOST}/balcony`, `${HOST}/x`]) {
      expect(conditionOf(read(`type='get' id='1' from='juliet@${HOST}/balcony' to='${to}'`))).toBe(
        'forbidden',
      )
    }
  })

  it('is of nobody, or names nobody: bad-request', () => {
    for (const attrs of [
      `type='get' id='1'`,
      `type='get' id='1' to='juliet@${HOST}'`,
      `type='get' id='1' from=''`,
      `type='get' id='1' from='@${HOST}'`,
      `type='get' id='1' from='${HOST}'`,
      `type='get' id='1' from='juliet@${HOST}/balcony' to=''`,
      `type='get' id='1' from='juliet@${HOST}/balcony' to='@'`,
    ]) {
      expect(conditionOf(read(attrs)), attrs).toBe('bad-request')
    }
  })

  it('is no request: bad-request', () => {
    const from = `from='juliet@${HOST}/balcony'`
    for (const attrs of [`type='result' id='1' ${from}`, `type='error' id='1' ${from}`, `id='1' ${from}`]) {
      expect(conditionOf(read(attrs)), attrs).toBe('bad-request')
    }
    expect(conditionOf(read(`type='get' ${from}`))).toBe('bad-request')
    expect(conditionOf(read(`type='get' id='1' ${from}`, ''))).toBe('bad-request')
    expect(conditionOf(read(`type='get' id='1' ${from}`, PAYLOAD + PAYLOAD))).toBe('bad-request')
  })

  it('F4: is not wrapped as it should be: bad-request', () => {
    const iq = `<iq xmlns='jabber:client' type='get' id='1' from='juliet@${HOST}/balcony'>${PAYLOAD}</iq>`
    const forwarded = `<forwarded xmlns='urn:xmpp:forward:0'>${iq}</forwarded>`
    const inDelegation = (content: string) =>
      `<delegation xmlns='urn:xmpp:delegation:2'>${content}</delegation>`
    for (const content of [
      inDelegation(''),
      inDelegation(iq),
      inDelegation(forwarded + forwarded),
      inDelegation(`<forwarded xmlns='urn:xmpp:forward:0'>${iq}${iq}</forwarded>`),
      inDelegation(`<forwarded xmlns='urn:xmpp:forward:0'>${iq}<delay xmlns='urn:xmpp:delay'/></forwarded>`),
      inDelegation(`<forwarded>${iq}</forwarded>`),
      inDelegation(forwarded.replace('jabber:client', 'jabber:server')),
      inDelegation(forwarded).replace('delegation:2', 'delegation:1'),
      inDelegation(forwarded.replace('<iq ', '<message ').replace('</iq>', '</message>')),
    ]) {
      expect(conditionOf(readForwarded(wrapper(content), HOST)), content).toBe('bad-request')
    }
    expect(conditionOf(readForwarded(wrapper(inDelegation(forwarded)), HOST))).toBe('accepted')
  })
})

describe('the types keep asker and account apart', () => {
  it('one is not taken for the other, in either direction', () => {
    expectTypeOf<AskerJid>().toExtend<string>()
    expectTypeOf<AccountJid>().toExtend<string>()
    expectTypeOf<AskerJid>().not.toExtend<AccountJid>()
    expectTypeOf<AccountJid>().not.toExtend<AskerJid>()
    expectTypeOf<string>().not.toExtend<AccountJid>()
    expectTypeOf<DelegatedRequest['askerBare']>().not.toExtend<AccountJid>()
  })

  it('the mistakes that one makes do not compile', () => {
    const notebooks = new Map<AccountJid, string[]>()
    const notesOf = (account: AccountJid): string[] => notebooks.get(account) ?? []
    const mistakes = ({ asker, account, askerBare }: DelegatedRequest): unknown[] => [
      // @ts-expect-error the asker's address where an account is meant
      notesOf(asker),
      // @ts-expect-error nor its bare form: `own` says whether that is the account
      notesOf(askerBare),
      // @ts-expect-error the same in a map
      notebooks.get(asker),
      // @ts-expect-error never true
      asker === account,
      notesOf(account),
    ]
    expect(mistakes).toBeTypeOf('function')
  })
})
