// XEP-0227 (Portable Import/Export Format), over every storage: what is read, what is refused and where, and that an
// export that is imported gives the same export.

import { hostname } from 'node:os'
import { describe, expect, it } from 'vitest'
import { Roster } from '../../plugins/roster/roster.ts'
import type { KeptStanza } from '../../server/stanza/kept.ts'
import { openStorage } from '../../server/storage/index.ts'
import { document, exportText, importHost, importText } from '../shared/migration.ts'
import { describeStorages } from '../shared/storage-kinds.ts'

const KEYS = `<scram-credentials xmlns='urn:xmpp:pie:0#scram' mechanism='SCRAM-SHA-1'><iter-count>10000</iter-count>
  <salt>TmFDbE5hQ2xO</salt><server-key>0pXWGK0GZJ6TR73AIUN3ITYtA1g=</server-key>
  <stored-key>Q6qT/SbybblGCZz8e8eSfCJOQic=</stored-key></scram-credentials>`

/** All examples of XEP-0227 §3 that this server has a place for, and some more. */
const EVERYTHING = document(`<user name='juliet'>
  ${KEYS}
  <query xmlns='jabber:iq:roster' ver='17'>
    <item jid='romeo@montague.net' name='Romeo &amp; &#x3c;more>' subscription='both'><group>Friends</group></item>
    <item jid='nurse@capulet.lit' ask='subscribe' approved='true'/>
  </query>
  <offline-messages>
    <message xmlns='jabber:client' from='romeo@montague.net/orchard' to='juliet@capulet.lit/balcony' type='chat' xml:lang='en'>
      <body>Neither, <![CDATA[fair <saint>]]></body>
      <delay xmlns='urn:xmpp:delay' from='capulet.lit' stamp='1987-07-21T00:32:29Z'>Offline Storage</delay>
    </message>
  </offline-messages>
  <query xmlns="jabber:iq:private"><exodus xmlns="exodus:prefs"><defaultnick>Hamlet</defaultnick></exodus></query>
  <vCard xmlns='vcard-temp'><FN>Juliet Capulet</FN></vCard>
  <presence xmlns='jabber:client' type='subscribe' id='xk3h1v69' from='mercutio@montague.net'>
    <nick xmlns="http://jabber.org/protocol/nick">Mercutio</nick>
  </presence>
  <blocklist xmlns='urn:xmpp:blocking'><item jid='tybalt@example.com'/><item jid='spam.example'/></blocklist>
  <prefs xmlns='urn:xmpp:mam:2' default='roster'><always><jid>a@b.c</jid></always><never/></prefs>
  <archive xmlns='urn:xmpp:pie:0#mam'>
    <result xmlns='urn:xmpp:mam:2' id='28482-98726-73623'><forwarded xmlns='urn:xmpp:forward:0'>
      <delay xmlns='urn:xmpp:delay' stamp='2010-07-10T23:08:25Z'/>
      <message xmlns='jabber:client' to='juliet@capulet.lit/balcony' from='romeo@montague.lit/orchard' type='chat'>
        <body>Call me but love</body><x:y xmlns:x='urn:x' x:a='"1"'><z xmlns=''/></x:y>
      </message></forwarded></result>
    <result xmlns='urn:xmpp:mam:2' id='5d398-28273-f7382'><forwarded xmlns='urn:xmpp:forward:0'>
      <delay xmlns='urn:xmpp:delay' stamp='2010-07-10T23:08:25Z'/>
      <message xmlns='jabber:client' to='nurse@capulet.lit' from='juliet@capulet.lit/balcony' id='8'><body>Later</body></message>
    </forwarded></result>
  </archive>
</user><user name='nurse'>${KEYS}</user>`)

describeStorages('XEP-0227 over', (_, open) => {
  it('§3: everything of an account arrives in the stores', async () => {
    const storage = await open()
    expect(await importText(storage, EVERYTHING)).toEqual({
      counts: { imported: 2, existing: 0, failed: 0, archived: 2, offline: 1 },
      failed: [],
      noted: [],
      stopped: undefined,
    })
    const { stores, users } = importHost(storage, 'capulet.lit')
    expect(await stores.roster.get('juliet')).toMatchObject({
      items: [
        { jid: 'romeo@montague.net', name: 'Romeo & <more>', subscription: 'both', groups: ['Friends'] },
        { jid: 'nurse@capulet.lit', subscription: 'none', ask: true, approved: true },
      ],
      version: 17,
      requests: [{ from: 'mercutio@montague.net', id: 'xk3h1v69', count: 1, payloadName: 'nick' }],
    })
    expect(await stores.vcard.get('juliet')).toBe('<vCard xmlns="vcard-temp"><FN>Juliet Capulet</FN></vCard>')
    expect([...(await stores.private.getAll('juliet')).keys()]).toEqual(['exodus:exodus:prefs'])
    expect(await stores.blocklist.get('juliet')).toEqual({ 'tybalt@example.com': true, 'spam.example': true })
    expect(await stores.archivePrefs.get('juliet')).toEqual({
      default: 'roster',
      always: ['a@b.c'],
      never: [],
    })
    const offline = (await stores.offline.find('juliet', {}, 10)).entries
    expect(offline).toMatchObject([
      {
        when: Date.UTC(1987, 6, 21, 0, 32, 29),
        value: { name: 'message', attrs: { to: 'juliet@capulet.lit/balcony', 'xml:lang': 'en' } },
      },
    ])
    expect(offline[0]?.value.inner).toContain('<body>Neither, fair &lt;saint&gt;</body>')
    expect(offline[0]?.value.inner).not.toContain('delay')
    const archive = (await stores.archive.find('juliet', {}, 10)).entries
    expect(archive.map((entry) => entry.with)).toEqual(['romeo@montague.lit', 'nurse@capulet.lit'])
    expect(archive[0]?.value.inner).toContain('<x:y xmlns:x="urn:x" x:a="&quot;1&quot;"><z xmlns=""/></x:y>')
    expect(await users.read('juliet')).toMatchObject({
      'SCRAM-SHA-1': { iterations: 10000, storedKey: 'Q6qT/SbybblGCZz8e8eSfCJOQic=' },
    })
    // Nothing tells that an import was at it.
    expect(await stores.marks.get('juliet')).toBeUndefined()
    await storage.close()
  })

  it('export → import → export gives the same, however the text is cut', async () => {
    const storage = await open()
    await importText(storage, EVERYTHING)
    const exported = await exportText(storage)
    for (const cut of [7, 65_536]) {
      for (const user of ['juliet', 'nurse']) await storage.purgeUser('capulet.lit', user)
      expect(await exportText(storage)).not.toContain('<user')
      expect((await importText(storage, exported, cut)).failed).toEqual([])
      expect(await exportText(storage)).toBe(exported)
    }
    await storage.close()
  })

  it('an attribute as long as a client may send it comes back, and so do the accounts after it', async () => {
    const storage = await open()
    const src = 'data:image/png;base64,'.padEnd(200_000, 'QUJD')
    const body = `<body xmlns='http://www.w3.org/1999/xhtml'><img src='${src}'/></body>`
    const message = `<message xmlns='jabber:client' from='a@b'><html xmlns='http://jabber.org/protocol/xhtml-im'>${body}</html></message>`
    const query = `<query xmlns='jabber:iq:private'><a xmlns='urn:a' b='${src}'/></query>`
    const long = `<user name='aaa'>${KEYS}${query}<offline-messages>${message}</offline-messages></user>`
    await importText(storage, document(`${long}<user name='nurse'>${KEYS}</user>`), 65_536)
    const exported = await exportText(storage)
    expect(exported.split(src)).toHaveLength(3)
    for (const cut of [1000, 65_536]) {
      for (const user of ['aaa', 'nurse']) await storage.purgeUser('capulet.lit', user)
      const { counts, stopped, failed } = await importText(storage, exported, cut)
      expect([counts.imported, stopped, failed]).toEqual([2, undefined, []])
      expect(await exportText(storage)).toBe(exported)
    }
    await storage.close()
  })

  it('an account that is broken leaves nothing behind, and the others are imported', async () => {
    const storage = await open()
    const message = (body: string) =>
      `<result xmlns='urn:xmpp:mam:2'><forwarded xmlns='urn:xmpp:forward:0'><delay xmlns='urn:xmpp:delay' stamp='2010-07-10T23:08:25Z'/><message xmlns='jabber:client' from='a@b.c'><body>${body}</body></message></forwarded></result>`
    // So many that some are written before it breaks.
    const many = Array.from({ length: 1200 }, (_, i) => message(String(i))).join('')
    const text = document(`<user name='juliet'>${KEYS}
<vCard xmlns='vcard-temp'><FN>J</FN></vCard>
<archive xmlns='urn:xmpp:pie:0#mam'>${many}
<result xmlns='urn:xmpp:mam:2'/></archive></user>
<user name='nurse'>${KEYS}</user>`)
    const { counts, failed, stopped } = await importText(storage, text)
    expect(stopped).toBeUndefined()
    expect(counts).toMatchObject({ imported: 1, failed: 1, archived: 0 })
    expect(failed).toEqual([
      expect.stringMatching(
        /^x\.xml:9:\d+: there is no message in a result .* juliet@capulet\.lit is not imported$/,
      ),
    ])
    const { stores, users } = importHost(storage, 'capulet.lit')
    expect(await users.exists('nurse')).toBe(true)
    expect(await users.exists('juliet')).toBe(false)
    expect(await stores.vcard.get('juliet')).toBeUndefined()
    expect(await stores.archive.count('juliet', {})).toBe(0)
    expect(await stores.marks.get('juliet')).toBeUndefined()
    await storage.close()
  })

  it('what an import that was killed has left behind is gone with the next', async () => {
    const storage = await open()
    const { stores, users } = importHost(storage, 'capulet.lit')
    await stores.marks.set('juliet', { process: 1, machine: 'another.example' })
    await stores.vcard.set('juliet', 'half of it')
    const message: KeptStanza = { name: 'message', attrs: {}, inner: '' }
    await stores.archive.append('juliet', message, 1, 'a@b.c')
    // Of this one everything was written.
    await users.create('nurse', 'pw')
    await stores.marks.set('nurse', { process: 1, machine: 'another.example' })
    await stores.vcard.set('nurse', '<vCard xmlns="vcard-temp"/>')
    await importText(storage, document(''))
    expect(await stores.vcard.get('juliet')).toBeUndefined()
    expect(await stores.archive.count('juliet', {})).toBe(0)
    expect(await stores.vcard.get('nurse')).toBeDefined()
    expect(await Promise.all(['juliet', 'nurse'].map((user) => stores.marks.get(user)))).toEqual([
      undefined,
      undefined,
    ])
    await storage.close()
  })

  it('an account that is there stays as it is, also one that is there twice in the file', async () => {
    const storage = await open()
    const card = (name: string) => `<vCard xmlns='vcard-temp'><FN>${name}</FN></vCard>`
    const twice =
      document(`<user name='juliet'>${KEYS}${card('1')}</user><user name='juliet'>${KEYS}${card('2')}</user>
<user name='JULIET'>${KEYS}</user>`)
    const { counts, failed } = await importText(storage, twice)
    expect(counts).toMatchObject({ imported: 1, existing: 1, failed: 1 })
    expect(failed).toEqual([expect.stringContaining('"JULIET" is juliet@capulet.lit here')])
    const { stores } = importHost(storage, 'capulet.lit')
    expect(await stores.vcard.get('juliet')).toContain('1')
    await storage.close()
  })
})

describe('an account that is there twice, where others give way to those of the file', () => {
  const card = (name: string) => `<vCard xmlns='vcard-temp'><FN>${name}</FN></vCard>`

  it.each(['juliet', 'Juliet'])('is imported once, and the second is told: %s', async (second) => {
    const storage = openStorage('memory', { path: '' })
    await importText(storage, document(`<user name='juliet'>${KEYS}${card('old')}</user>`))
    const text = document(
      `<user name='juliet'>${KEYS}${card('first')}</user><user name='${second}'>${KEYS}</user>`,
    )
    const { counts, failed } = await importText(storage, text, 1000, 'gives way')
    expect(counts).toMatchObject({ imported: 1, existing: 0, failed: 1 })
    expect(failed).toEqual([
      expect.stringMatching(
        new RegExp(`^x\\.xml:\\d+:\\d+: "${second}" is juliet@capulet\\.lit here, which came before`),
      ),
    ])
    expect(await importHost(storage, 'capulet.lit').stores.vcard.get('juliet')).toContain('first')
    await storage.close()
  })
})

describe('an import that is at work', () => {
  const wait = { process: 812, machine: 'another.example' }

  it('on another machine is waited for, as long as it renews its mark', async () => {
    const storage = openStorage('memory', { path: '' })
    const { stores } = importHost(storage, 'capulet.lit')
    await stores.marks.set('juliet', { ...wait, when: Date.now() - 60_000 })
    await stores.vcard.set('juliet', 'half of it')
    await expect(importText(storage, document(''))).rejects.toThrow(
      'another import is at work on another.example (process 812)',
    )
    expect(await stores.vcard.get('juliet')).toBe('half of it')
    await stores.marks.set('juliet', { ...wait, when: Date.now() - 3_600_000 })
    await importText(storage, document(''))
    expect(await stores.vcard.get('juliet')).toBeUndefined()
    await storage.close()
  })

  it.runIf(process.platform === 'linux')('is not another process that has its number now', async () => {
    const storage = openStorage('memory', { path: '' })
    const { stores } = importHost(storage, 'capulet.lit')
    const here = { process: process.ppid, machine: hostname(), when: Date.now() }
    await stores.marks.set('juliet', here)
    await expect(importText(storage, document(''))).rejects.toThrow(`at work (process ${process.ppid})`)
    await stores.marks.set('juliet', { ...here, begun: `${'0'.repeat(8)} 1` })
    await stores.vcard.set('juliet', 'half of it')
    await importText(storage, document(''))
    expect(await stores.vcard.get('juliet')).toBeUndefined()
    await storage.close()
  })
})

describe('XEP-0227 §3.4: what clients have kept of a roster (RFC 6121 §2.6)', () => {
  /** What is stored of a roster that is imported. */
  async function stored(query: string): Promise<unknown> {
    const storage = openStorage('memory', { path: '' })
    const { failed } = await importText(storage, document(`<user name='juliet'>${KEYS}${query}</user>`))
    expect(failed).toEqual([])
    const roster = await importHost(storage, 'capulet.lit').stores.roster.get('juliet')
    await storage.close()
    return roster
  }
  const query = (attrs: string, items: string) => `<query xmlns='jabber:iq:roster' ${attrs}>${items}</query>`

  it('an empty roster has a version, too, there and back', async () => {
    const storage = openStorage('memory', { path: '' })
    await importText(storage, document(`<user name='juliet'>${KEYS}${query("ver='5'", '')}</user>`))
    expect(await exportText(storage)).toContain("<query xmlns='jabber:iq:roster' ver='5'>\n</query>\n")
    await storage.close()
  })

  it.each(['', 'abc', '0', '-1', '1.5', '1e3', '007', '9007199254740993', '99999999999999999999'])(
    'a version that can not go on here counts as none: "%s"',
    async (ver) => {
      expect(await stored(query(`ver='${ver}'`, "<item jid='a@b'/>"))).toEqual({
        items: [{ jid: 'a@b', subscription: 'none' }],
        requests: [],
      })
    },
  )

  it.each([
    ["one's own address", "<item jid='juliet@capulet.lit'/><item jid='a@b'/>"],
    ['one of two addresses that are the same here', "<item jid='A@b' name='x'/><item jid='a@b'/>"],
  ])('nor does that of a roster without %s', async (_, items) => {
    expect(await stored(query("ver='5'", items))).toEqual({
      items: [{ jid: 'a@b', subscription: 'none' }],
      requests: [],
    })
  })

  it('RFC 6121 §3.4: who sees the presence is not approved beforehand', async () => {
    const items = ['none', 'to', 'from', 'both'].map(
      (subscription) => `<item jid='${subscription}@b' subscription='${subscription}' approved='1'/>`,
    )
    expect(await stored(query('', items.join('')))).toEqual({
      items: [
        { jid: 'none@b', subscription: 'none', approved: true },
        { jid: 'to@b', subscription: 'to', approved: true },
        { jid: 'from@b', subscription: 'from' },
        { jid: 'both@b', subscription: 'both' },
      ],
      requests: [],
    })
  })

  it('what was removed of an archive while it was read is not there, and the rest follows', async () => {
    const storage = openStorage('memory', { path: '' })
    await importText(storage, document(`<user name='juliet'>${KEYS}</user>`))
    const archive = storage.openArchive<KeptStanza>('capulet.lit', 'archive')
    for (let i = 0; i < 250; i++) {
      const value = { name: 'message', attrs: { id: `m${i}` }, inner: '<body>x</body>' }
      await archive.append('juliet', value, i, 'romeo@montague.lit')
    }
    const open = storage.openArchive.bind(storage)
    storage.openArchive = (...names) => ({
      ...open(...names),
      find: async (user, query, ...rest) => {
        const page = await open<never>(...names).find(user, query, ...rest)
        return query.after === undefined ? { ...page, entries: [] } : page
      },
    })
    const messages = (await exportText(storage)).match(/ id='m\d+'/g)
    expect(messages).toEqual(Array.from({ length: 50 }, (_, i) => ` id='m${200 + i}'`))
    await storage.close()
  })

  it('a roster of the plugin goes on where it was', async () => {
    const [from, to] = [openStorage('memory', { path: '' }), openStorage('memory', { path: '' })]
    const roster = Roster.decode(undefined)
    for (const jid of ['a@b', 'c@d']) {
      const item = { jid, subscription: 'none', ask: false, approved: true, groups: [] } as const
      roster.setContact(jid, { item })
      roster.itemChanged(jid)
    }
    roster.setContact('a@b', {})
    roster.itemChanged('a@b')
    await importText(from, document(`<user name='juliet'>${KEYS}</user>`))
    await importHost(from, 'capulet.lit').stores.roster.set('juliet', roster.encode())
    await importText(to, await exportText(from))
    const moved = Roster.decode(await importHost(to, 'capulet.lit').stores.roster.get('juliet'))
    const { version } = roster
    expect(moved.version).toBe(version)
    expect([...moved.items.values()]).toMatchObject([{ jid: 'c@d', approved: true }])
    // What came before is not known here; what comes is.
    expect([version - 1, version, version + 1].map((known) => moved.knowsSince(known))).toEqual([
      false,
      true,
      false,
    ])
    moved.itemChanged('c@d')
    expect(moved.changesSince(version)).toMatchObject([{ jid: 'c@d' }])
    expect(moved.version).toBeGreaterThan(version)
    await Promise.all([from.close(), to.close()])
  })
})

describe('XEP-0227: what can not be imported', () => {
  /** What is told of a user, imported alone. */
  async function told(content: string): Promise<string> {
    const storage = openStorage('memory', { path: '' })
    const { counts, failed, stopped } = await importText(
      storage,
      document(`<user name='juliet'>${KEYS}${content}</user>`),
    )
    expect(counts).toMatchObject({ imported: 0 })
    for await (const user of importHost(storage, 'capulet.lit').stores.vcard.users()) throw new Error(user)
    await storage.close()
    return stopped ?? failed.join('\n')
  }
  const card = "<vCard xmlns='vcard-temp'/>"
  const foreign = (attrs: string) => `<vCard xmlns='vcard-temp'><b ${attrs}/></vCard>`

  it.each([
    ['a contact without an address', `<query xmlns='jabber:iq:roster'><item/></query>`, 'is no JID'],
    [
      'a state that there is not',
      `<query xmlns='jabber:iq:roster'><item jid='a@b' subscription='x'/></query>`,
      'a subscription that there is not: "x"',
    ],
    ['keys of the wrong length', KEYS.replace('SHA-1', 'SHA-256'), 'has 20 bytes instead of 32'],
    ['an iteration count with a leading zero (§3.3)', KEYS.replace('10000', '010000'), 'the iteration count'],
    [
      'iterations that would keep the server busy',
      KEYS.replace('10000', '2000000000'),
      'the iteration count',
    ],
    ['a salt that is no Base64', KEYS.replace('TmFDbE5hQ2xO', '*'), '<salt/>'],
    [
      'a time that is none',
      `<archive xmlns='urn:xmpp:pie:0#mam'><result xmlns='urn:xmpp:mam:2'><forwarded xmlns='urn:xmpp:forward:0'><delay xmlns='urn:xmpp:delay' stamp='noon'/><message xmlns='jabber:client'/></forwarded></result></archive>`,
      'the time of a message',
    ],
    [
      'an iq that waits',
      `<offline-messages><iq xmlns='jabber:client'/></offline-messages>`,
      'where a message was expected',
    ],
    [
      'a prefix that is not declared',
      `<vCard xmlns='vcard-temp'><a:b/></vCard>`,
      'the prefix "a:" is not declared',
    ],
    ['a name that strict parsers refuse', `<vCard xmlns='vcard-temp'><a:b:c/></vCard>`, 'is no name'],
    [
      'an element of more than 10 MB',
      `<vCard xmlns='vcard-temp'>${'x'.repeat(10_000_001)}</vCard>`,
      'larger than 10 MB',
    ],
    [
      'an element of many empty ones, each of which takes its room',
      `<vCard xmlns='vcard-temp'>${'<a/>'.repeat(200_000)}</vCard>`,
      'more than 200000 elements and attributes',
    ],
    [
      'more of contacts, with their groups, than is kept in memory',
      `<query xmlns='jabber:iq:roster'>${[1, 2, 3].map((i) => `<item jid='${i}@b'><group>${'x'.repeat(9_000_000)}</group></item>`).join('')}</query>`,
      'more than 16 MB of it',
    ],
    [
      'elements in each other, deeper than anybody needs',
      `<vCard xmlns='vcard-temp'>${'<a>'.repeat(5000)}${'</a>'.repeat(5000)}</vCard>`,
      'more than 256 elements',
    ],
    [
      'an element with more attributes than anybody needs',
      `<vCard xmlns='vcard-temp'><a ${Array.from({ length: 1001 }, (_, i) => `a${i}=''`).join(' ')}/></vCard>`,
      'more than 1000 attributes',
    ],
    ['Namespaces in XML §2.2: a prefix for no namespace', foreign("xmlns:a=''"), 'xmlns:a is empty'],
    ['§3: another namespace for xml', foreign("xmlns:xml='u'"), 'the prefix xml is bound'],
    ['§3: a namespace for xmlns', foreign("xmlns:xmlns='u'"), 'the prefix xmlns can not be declared'],
    [
      '§3: the namespace of xmlns',
      foreign("xmlns:p='http://www.w3.org/2000/xmlns/'"),
      'the namespace of xmlns can not be declared',
    ],
    [
      '§3: another prefix for the namespace of xml',
      foreign("xmlns:p='http://www.w3.org/XML/1998/namespace'"),
      'the XML namespace has the prefix xml',
    ],
    ['a namespace that joins names to others', foreign("xmlns='a}b'"), 'a namespace that is no URI'],
    [
      '§6.3: two attributes that are one',
      foreign("xmlns:p='u' xmlns:q='u' p:x='' q:x=''"),
      '<b/> has the same attribute twice',
    ],
    ['text where elements belong', `text`, 'there is text'],
    [
      'an include from standard input',
      `<include xmlns='http://www.w3.org/2001/XInclude' href='a.xml'/>`,
      'includes no files',
    ],
  ])('%s', async (_, content, reason) => {
    const text = await told(card + content)
    expect(text).toContain(reason)
    expect(text).toMatch(/^x\.xml:\d+:\d+: .*juliet@capulet\.lit is not imported$/)
  })

  it('Namespaces in XML §3: nor what is declared further up, and used within', async () => {
    const storage = openStorage('memory', { path: '' })
    const text = document(
      `<user name='juliet' xmlns:p='http://www.w3.org/2000/xmlns/'>${KEYS}<vCard xmlns='vcard-temp' p:a=''/></user>` +
        `<user name='nurse' xmlns:p='urn:p'>${KEYS}<vCard xmlns='vcard-temp' p:a='' xml:lang='en' a=''/></user>`,
    )
    const { counts, failed } = await importText(storage, text)
    expect(counts).toMatchObject({ imported: 1, failed: 1 })
    expect(failed).toEqual([expect.stringContaining('juliet@capulet.lit is not imported')])
    await storage.close()
  })

  it('what is broken in one account is no matter of the next', async () => {
    const storage = openStorage('memory', { path: '' })
    const deep = `<vCard xmlns='vcard-temp'>${'<a>'.repeat(5000)}${'</a>'.repeat(5000)}</vCard>`
    const text = document(`<user name='aaa'>${KEYS}${deep}</user><user name='nurse'>${KEYS}${card}</user>`)
    const { counts, stopped } = await importText(storage, text)
    expect(counts).toMatchObject({ imported: 1, failed: 1 })
    expect(stopped).toBeUndefined()
    expect(await importHost(storage, 'capulet.lit').stores.vcard.get('nurse')).toBeDefined()
    await storage.close()
  })

  it.each([
    [
      'a document type, and what it would declare',
      `<!DOCTYPE a [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><server-data xmlns='urn:xmpp:pie:0'/>`,
      'a document type',
    ],
    ['an entity that nobody declares', document(`<user name='a'>&b;</user>`), 'Invalid character entity'],
    ['HTML entities', document(`<user name='a'>&nbsp;</user>`), 'Invalid character entity'],
    [
      'a reference to a character that XML does not have',
      document(`<user name='&#1;'/>`),
      'Invalid character',
    ],
    [
      'another encoding',
      `<?xml version='1.0' encoding='ISO-8859-1'?><server-data xmlns='urn:xmpp:pie:0'/>`,
      'iconv',
    ],
    ['a document that is cut off', EVERYTHING.slice(0, -60), 'Unclosed root tag'],
    ['tags that do not match', document(`<user name='a'></usr>`), 'Unexpected close tag'],
    ['elements in each other without end', document('<a>'.repeat(300)), 'more than 256 elements'],
    [
      'also within an account',
      document(`<user name='a'><vCard xmlns='vcard-temp'>${'<a>'.repeat(20_001)}`),
      'more than 20000 elements',
    ],
    [
      'an attribute without end',
      document(`<user name='a'><vCard xmlns='vcard-temp' a='${'x'.repeat(17_000_000)}'/></user>`),
      'longer than 16 MiB',
    ],
    [
      'attributes that are too long together',
      document(`<a ${['a', 'b', 'c'].map((name) => `${name}='${'x'.repeat(6_000_000)}'`).join(' ')}/>`),
      'longer than 16 MiB',
    ],
    ['another format', `<roster xmlns='jabber:iq:roster'/>`, 'begins no export'],
    ['a character that XML does not have', document("<user name='\u0001'/>"), 'U+0001'],
    ['nothing', '', 'there is nothing in it'],
  ])('%s', async (_, text, reason) => {
    const storage = openStorage('memory', { path: '' })
    const { stopped } = await importText(storage, text)
    expect(stopped).toContain(reason)
    expect(stopped).toMatch(/^x\.xml:\d+:\d+: /)
    await storage.close()
  })

  it('what is no UTF-8', async () => {
    const storage = openStorage('memory', { path: '' })
    const bytes = Buffer.from(document("<user name='\u00e9'/>"), 'latin1')
    expect((await importText(storage, bytes)).stopped).toMatch(/^x\.xml:\d+: from somewhere after this line/)
    await storage.close()
  })

  it('§3: what is not known is told, once, and the rest is imported', async () => {
    const storage = openStorage('memory', { path: '' })
    const unknown =
      "<pubsub xmlns='http://jabber.org/protocol/pubsub'><items node='x'><item/></items></pubsub>"
    const text = document(`<user name='a'>${KEYS}${unknown}</user><user name='b'>${KEYS}${unknown}</user>`)
    const { counts, noted } = await importText(storage, text)
    expect(counts.imported).toBe(2)
    expect(noted).toEqual([expect.stringContaining('pubsub"/> is not taken over')])
    await storage.close()
  })

  it('§3.8: of privacy lists, whom the default one blocks altogether', async () => {
    const storage = openStorage('memory', { path: '' })
    const lists = `<query xmlns='jabber:iq:privacy'><default name='public'/><list name='public'>
      <item type='jid' value='tybalt@example.com' action='deny' order='1'/>
      <item type='jid' value='paris@example.com' action='deny' order='2'><message/></item>
      <item action='allow' order='3'/></list><list name='x'><item type='jid' value='a@b' action='deny' order='1'/></list></query>`
    await importText(storage, document(`<user name='a'>${KEYS}${lists}</user>`))
    expect(await importHost(storage, 'capulet.lit').stores.blocklist.get('a')).toEqual({
      'tybalt@example.com': true,
    })
    await storage.close()
  })

  it('RFC 7622 §3.3: a name that no JID can have', async () => {
    const storage = openStorage('memory', { path: '' })
    const { counts, failed } = await importText(
      storage,
      document(`<user name='♚'>${KEYS}</user><user name='a'>${KEYS}</user>`),
    )
    expect(counts).toMatchObject({ imported: 1, failed: 1 })
    expect(failed).toEqual([
      expect.stringMatching(
        /^x\.xml:4:\d+: "♚" is no user name that a JID can have .*♚@capulet\.lit is not imported$/,
      ),
    ])
    await storage.close()
  })

  it('§3.2: of a password keys are made', async () => {
    const storage = openStorage('memory', { path: '' })
    await importText(storage, document(`<user name='a' password='secret'/>`))
    const { users } = importHost(storage, 'capulet.lit')
    expect(await users.verifyPassword('a', 'secret')).toBe(true)
    expect(users.missing.size).toBe(0)
    await storage.close()
  })
})
