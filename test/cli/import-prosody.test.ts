// legate import --from-prosody: a data folder that a real Prosody has made, over streams of clients.

import { cpSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it, vi } from 'vitest'
import { login, TestStream } from '../shared/client.ts'
import { LegateFolder, ON_FREE_PORTS, type RunningLegate } from '../shared/legate-command.ts'
import { prosodyAvailable, startProsody } from '../shared/peers/prosody.ts'
import { describePeer } from '../shared/require.ts'
import { mechanismsIn, scram } from '../shared/streams.ts'

vi.setConfig({ testTimeout: 90_000, hookTimeout: 90_000 })

const CONFIG = `${ON_FREE_PORTS}
modules_enabled = { "tls", "saslauth", "roster", "presence", "message", "disco", "ping", "mam", "offline", "private",
  "vcard", "blocklist" }
VirtualHost "capulet.lit"
`
const PASSWORDS = { juliet: 'wherefore "art" thou', romeo: 'bänk\\', 'nurse.angelica': 'pw' }
const [JULIET, ROMEO, NURSE] = [
  'juliet@capulet.lit',
  'romeo@capulet.lit',
  'nurse.angelica@capulet.lit',
] as const

describePeer('Prosody', prosodyAvailable(), () => {
  const data = mkdtempSync(join(tmpdir(), 'legate-from-prosody-'))
  let folder: LegateFolder
  let server: RunningLegate
  /** What Prosody said last of Juliet's roster. */
  let version: string

  beforeAll(async () => {
    version = await makeData(data)
    folder = new LegateFolder(CONFIG)
  })

  afterAll(async () => {
    await folder.remove()
    rmSync(data, { recursive: true })
  })

  it('everything is taken over, and what is not is told', async () => {
    const outcome = await folder.run(['import', '--from-prosody', data])
    expect(outcome.stdout).toBe('3 accounts imported, with 4 archived messages and 2 that wait.\n')
    expect(outcome.code).toBe(0)
    server = await folder.start()
  })

  it('logins with the old passwords: SCRAM-SHA-1 and PLAIN, and no mechanism is offered that would not work', async () => {
    for (const [user, password] of Object.entries(PASSWORDS)) {
      const stream = await TestStream.connect(server.c2sPort)
      await stream.open("to='capulet.lit' version='1.0'")
      expect(mechanismsIn(await stream.named('features'))).toEqual(['SCRAM-SHA-1', 'PLAIN'])
      expect((await scram(stream, 'SCRAM-SHA-1', user, { password })).getName()).toBe('success')
      await stream.destroy()
    }
    const jid = `${NURSE}/plain`
    await (
      await login(server.c2sPort, jid, { password: PASSWORDS['nurse.angelica'], presence: false })
    ).close()
    await expect(login(server.c2sPort, jid, { password: 'wrong' })).rejects.toThrow('not-authorized')
  })

  it('contacts, requests, vCard, private storage, block list', async () => {
    const juliet = await login(server.c2sPort, `${JULIET}/x`, { password: PASSWORDS.juliet, presence: false })
    const ask = async (payload: string) =>
      String(await juliet.ask(`<iq type='get' id='q${payload.length}'>${payload}</iq>`))
    const roster = await ask("<query xmlns='jabber:iq:roster'/>")
    expect(roster).toMatch(
      new RegExp(`jid="${ROMEO}"[^>]*subscription="both"|subscription="both"[^>]*jid="${ROMEO}"`),
    )
    expect(roster).toContain('Roméo &amp; &quot;co&quot;')
    expect(roster).toContain('<group>Montague</group>')
    // RFC 6121 §2.6.3: what she has kept is what there is.
    expect(roster).toContain(`ver="${version}"`)
    const same = await juliet.ask(
      `<iq type='get' id='same'><query xmlns='jabber:iq:roster' ver='${version}'/></iq>`,
    )
    expect(same.getChildElements()).toEqual([])
    expect(await ask("<vCard xmlns='vcard-temp'/>")).toContain('<FN>Juliet &lt;Capulet&gt; 🌹</FN>')
    const kept = await ask("<query xmlns='jabber:iq:private'><storage xmlns='storage:bookmarks'/></query>")
    expect(kept).toContain('xml:lang="de"')
    expect(kept).toContain('<name>Garten</name>')
    expect(await ask("<blocklist xmlns='urn:xmpp:blocking'/>")).toContain('jid="tybalt@example.com"')
    const preferences = await ask("<prefs xmlns='urn:xmpp:mam:2'/>")
    expect(preferences).toContain('default="always"')
    expect(preferences).toContain('<never><jid>paris@example.com</jid></never>')
    // RFC 6121 §3.1.3: the request waits.
    juliet.send('<presence/>')
    const request = await juliet.next((element) => element.attrs['type'] === 'subscribe')
    expect(request.attrs['from']).toBe(NURSE)
    await juliet.close()
  })

  it('RFC 6121 §3.4: who is approved before asking', async () => {
    const jid = `${NURSE}/plain`
    const nurse = await login(server.c2sPort, jid, {
      password: PASSWORDS['nurse.angelica'],
      presence: false,
    })
    const roster = await nurse.ask("<iq type='get' id='roster'><query xmlns='jabber:iq:roster'/></iq>")
    const items = roster.getChild('query')!.getChildElements()
    const ofPeter = items.find(({ attrs }) => attrs['jid'] === 'peter@capulet.lit')
    expect(ofPeter?.attrs).toMatchObject({ subscription: 'none', approved: 'true' })
    await nurse.close()
  })

  it('messages that wait are handed over, once, with their time', async () => {
    const romeo = await login(server.c2sPort, `${ROMEO}/x`, { password: PASSWORDS.romeo })
    for (const body of ['first', 'second']) {
      const message = await romeo.named('message')
      expect(message.getChildText('body')).toBe(body)
      expect(message.attrs['from']).toBe(`${JULIET}/balcony`)
      const stamp = message.getChild('delay', 'urn:xmpp:delay')?.attrs['stamp'] as string
      expect(Math.abs(Date.now() - Date.parse(stamp))).toBeLessThan(600_000)
    }
    await romeo.close()
  })

  it('the archive is there, in its order', async () => {
    const juliet = await login(server.c2sPort, `${JULIET}/x`, { password: PASSWORDS.juliet, presence: false })
    const form =
      "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>urn:xmpp:mam:2</value></field>" +
      `<field var='with'><value>${ROMEO}</value></field></x>`
    await juliet.ask(`<iq type='set' id='mam'><query xmlns='urn:xmpp:mam:2'>${form}</query></iq>`)
    const bodies = [...juliet.text.matchAll(/<body>(first|second)<\/body>/g)].map(([, body]) => body)
    expect(bodies).toEqual(['first', 'second'])
    await juliet.close()
    await server.stop()
  })

  it('a broken file is told with its line; nothing of that account is imported, and all of the others', async () => {
    const copy = mkdtempSync(join(tmpdir(), 'legate-from-prosody-'))
    const other = new LegateFolder(CONFIG)
    try {
      cpSync(data, copy, { recursive: true })
      const file = join(copy, 'capulet%2elit', 'archive', 'juliet.list')
      const lines = readFileSync(file, 'utf8').split('\n')
      lines[5] = `\tos.execute("touch ${copy}/run");`
      writeFileSync(file, lines.join('\n'))
      const outcome = await other.run(['import', '--from-prosody', copy])
      expect(outcome).toMatchObject({
        code: 1,
        stdout: expect.stringMatching(/^2 accounts imported.*; 1 not imported/),
      })
      expect(outcome.stderr).toMatch(
        /capulet%2elit\/archive\/juliet\.list:6:\d+: .*juliet@capulet\.lit is not imported/,
      )
      expect(readdirSync(copy)).not.toContain('run')
      expect((await other.run(['export', '-'])).stdout).not.toContain("<user name='juliet'>")
      cpSync(data, copy, { recursive: true })
      expect(await other.run(['import', '--from-prosody', copy])).toMatchObject({
        code: 0,
        stdout: expect.stringMatching(/^1 account imported.*; 2 there already/),
      })
    } finally {
      await other.remove()
      rmSync(copy, { recursive: true })
    }
  })

  it('RFC 7622 §3.3: a name that no JID can have is told, and all the others are imported', async () => {
    const copy = mkdtempSync(join(tmpdir(), 'legate-from-prosody-'))
    const other = new LegateFolder(CONFIG)
    try {
      cpSync(data, copy, { recursive: true })
      const accounts = join(copy, 'capulet%2elit', 'accounts')
      renameSync(join(accounts, 'romeo.dat'), join(accounts, '%e2%99%9a.dat'))
      const outcome = await other.run(['import', '--from-prosody', copy])
      expect(outcome).toMatchObject({
        code: 1,
        stdout: expect.stringMatching(/^2 accounts imported.*; 1 not imported/),
      })
      expect(outcome.stderr).toContain(
        'capulet%2elit/accounts/%e2%99%9a.dat: "♚" is no user name that a JID can have (RFC 7622)',
      )
      expect(outcome.stderr).toContain('♚@capulet.lit is not imported')
      expect(await other.run(['check'])).toMatchObject({ stdout: expect.not.stringContaining('♚') })
    } finally {
      await other.remove()
      rmSync(copy, { recursive: true })
    }
  })
})

/** What three people do with a Prosody whose data this is. @returns the version of Juliet's roster */
async function makeData(into: string): Promise<string> {
  const prosody = await startProsody({
    hosts: { 'capulet.lit': {} },
    passwords: 'scram',
    modules: ['register', 'register_ibr', 'mam', 'offline', 'private', 'vcard', 'blocklist'],
    globals: { allow_registration: true },
  })
  try {
    for (const [user, password] of Object.entries(PASSWORDS)) await register(prosody.c2sPort, user, password)
    const at = (user: keyof typeof PASSWORDS, resource: string) =>
      login(prosody.c2sPort, `${user}@capulet.lit/${resource}`, { password: PASSWORDS[user] })
    const juliet = await at('juliet', 'balcony')
    const romeo = await at('romeo', 'orchard')
    const set = async (id: string, payload: string) => {
      const answer = await juliet.ask(`<iq type='set' id='${id}'>${payload}</iq>`)
      if (answer.attrs['type'] !== 'result') throw new Error(`Prosody refuses: ${answer.toString()}`)
    }
    const name = 'Roméo &amp; &quot;co&quot;'
    await set(
      '1',
      `<query xmlns='jabber:iq:roster'><item jid='${ROMEO}' name='${name}'><group>Montague</group></item></query>`,
    )
    await set('2', "<vCard xmlns='vcard-temp'><FN>Juliet &lt;Capulet&gt; 🌹</FN></vCard>")
    await set(
      '3',
      "<query xmlns='jabber:iq:private'><storage xmlns='storage:bookmarks'><conference jid='a@b' xml:lang='de'><name>Garten</name></conference></storage></query>",
    )
    await set('4', "<block xmlns='urn:xmpp:blocking'><item jid='tybalt@example.com'/></block>")
    await set(
      '5',
      "<prefs xmlns='urn:xmpp:mam:2' default='always'><always/><never><jid>paris@example.com</jid></never></prefs>",
    )
    // Both see each other's presence.
    juliet.send(`<presence type='subscribe' to='${ROMEO}'/>`)
    await romeo.next((element) => element.attrs['type'] === 'subscribe')
    romeo.send(`<presence type='subscribed' to='${JULIET}'/><presence type='subscribe' to='${JULIET}'/>`)
    await juliet.next((element) => element.attrs['type'] === 'subscribe')
    juliet.send(`<presence type='subscribed' to='${ROMEO}'/>`)
    await juliet.settled()
    await romeo.close()
    for (const body of ['first', 'second']) {
      juliet.send(`<message to='${ROMEO}' type='chat' id='${body}'><body>${body}</body></message>`)
    }
    await juliet.settled()
    await juliet.close()
    const nurse = await at('nurse.angelica', 'house')
    nurse.send(`<presence type='subscribe' to='${JULIET}'/>`)
    nurse.send("<presence type='subscribed' to='peter@capulet.lit'/>")
    await nurse.settled()
    await nurse.close()
    const again = await login(prosody.c2sPort, `${JULIET}/x`, {
      password: PASSWORDS.juliet,
      presence: false,
    })
    const roster = await again.ask("<iq type='get' id='roster'><query xmlns='jabber:iq:roster' ver=''/></iq>")
    await again.close()
    cpSync(prosody.directory, into, { recursive: true })
    return roster.getChild('query')!.attrs['ver'] as string
  } finally {
    await prosody.stop()
  }
}

/** XEP-0077 §3.1 */
async function register(port: number, user: string, password: string): Promise<void> {
  const stream = await TestStream.connect(port)
  await stream.open("to='capulet.lit' version='1.0'")
  await stream.named('features')
  const escaped = password.replaceAll('"', '&quot;')
  const answer = await stream.ask(
    `<iq type='set' id='r'><query xmlns='jabber:iq:register'><username>${user}</username><password>${escaped}</password></query></iq>`,
  )
  if (answer.attrs['type'] !== 'result') throw new Error(`Prosody refuses: ${answer.toString()}`)
  await stream.close()
}
