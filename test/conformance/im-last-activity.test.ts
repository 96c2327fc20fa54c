/** Last activity and uptime (XEP-0012), and contact addresses (XEP-0157). */

import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { login, type TestStream } from '../shared/client.ts'
import { startServer, type TestServer, USUAL_PLUGINS } from '../shared/server.ts'
import { ALL_STORAGES, describeStoredIn } from '../shared/server-storages.ts'

const HOST = 'capulet.lit'
const JULIET = `juliet@${HOST}`
const ROMEO = `romeo@${HOST}`
const LAST = 'jabber:iq:last'

let server: TestServer
let romeo: TestStream
let ids = 0

beforeEach(async () => {
  const modules_enabled = [...USUAL_PLUGINS, 'lastactivity', 'uptime', 'server_contact_info']
  const contact_info = {
    abuse: ['mailto:abuse@capulet.lit', 'xmpp:nurse@capulet.lit'],
    support: 'https://capulet.lit/',
  }
  server = await startServer({ modules_enabled, contact_info, virtualHosts: { [HOST]: {} } }, [JULIET, ROMEO])
  romeo = await login(server.c2sPort, `${ROMEO}/orchard`)
})

afterEach(async () => {
  await romeo.destroy()
  await server.stop()
})

const ask = (stream: TestStream, to?: string) =>
  stream.ask(
    `<iq type='get' id='l${++ids}'${to === undefined ? '' : ` to='${to}'`}><query xmlns='${LAST}'/></iq>`,
  )

async function seenBy(stream: TestStream, to?: string): Promise<string> {
  const answer = await ask(stream, to)
  const query = answer.getChild('query')
  if (answer.attrs.type === 'error') return answer.getChild('error')!.getChildElements()[0]!.getName()
  expect(Number(query?.attrs.seconds)).toBeLessThan(60)
  return `${query?.attrs.seconds === '0' ? 'now' : 'before'} ${query?.getText()}`
}

describeStoredIn(ALL_STORAGES, 'last activity', () => {
  it('§3: the subscribed learn when an account was last there, with its last status', async () => {
    const juliet = await login(server.c2sPort, `${JULIET}/balcony`)
    romeo.send(`<presence type='subscribe' to='${JULIET}'/>`)
    await juliet.next(({ attrs }) => attrs.type === 'subscribe')
    juliet.send(`<presence type='subscribed' to='${ROMEO}'/>`)
    await romeo.next(({ attrs }) => attrs.type === 'subscribed')
    expect(await seenBy(romeo, JULIET)).toBe('now ')
    juliet.send(`<presence type='unavailable'><status>Good &amp; night</status></presence>`)
    await juliet.settled()
    expect(await seenBy(romeo, JULIET)).toMatch(/^(now|before) Good & night$/)
    expect(await seenBy(juliet)).toMatch(/^(now|before) Good & night$/)
    await romeo.settled()
    romeo.received.length = 0
    juliet.send('<presence/>')
    await romeo.next(({ name, attrs }) => name === 'presence' && attrs.type === undefined)
    await juliet.destroy()
    await romeo.next(({ attrs }) => attrs.type === 'unavailable')
    expect(await seenBy(romeo, JULIET)).toMatch(/^(now|before) $/)
  })

  it('§3: others are refused, as they are for accounts that there are not', async () => {
    const juliet = await login(server.c2sPort, `${JULIET}/balcony`)
    for (const to of [JULIET, `nobody@${HOST}`]) expect(await seenBy(romeo, to)).toBe('forbidden')
    await juliet.destroy()
    expect(await seenBy(romeo, JULIET)).toBe('forbidden')
  })

  it('nothing is made up for an account that was never there', async () => {
    romeo.send(`<presence type='unavailable'/>`)
    const other = await login(server.c2sPort, `${JULIET}/quiet`, { presence: false })
    expect(await seenBy(other)).toBe('item-not-found')
    await other.destroy()
  })

  it('§6: the host tells how long the server has been running', async () => {
    const answer = await ask(romeo, HOST)
    expect(Number(answer.getChild('query')?.attrs.seconds)).toBe(Math.floor(process.uptime()))
  })
})

describe('contact addresses', () => {
  it('§2: are a form in the service discovery of the host', async () => {
    const info = await romeo.ask(
      `<iq type='get' id='d${++ids}' to='${HOST}'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>`,
    )
    const form = info.getChild('query')!.getChild('x', 'jabber:x:data')!
    const fields = form
      .getChildren('field')
      .map((field) => [field.attrs['var'], ...field.getChildren('value').map((value) => value.getText())])
    expect(form.attrs.type).toBe('result')
    expect(fields).toEqual([
      ['FORM_TYPE', 'http://jabber.org/network/serverinfo'],
      ['abuse-addresses', 'mailto:abuse@capulet.lit', 'xmpp:nurse@capulet.lit'],
      ['support-addresses', 'https://capulet.lit/'],
    ])
  })
})
