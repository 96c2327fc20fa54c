// legate import and legate export: files of XEP-0227, what they cost, and what becomes of them when something breaks.

import { once } from 'node:events'
import {
  chmodSync,
  chownSync,
  createWriteStream,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it, vi } from 'vitest'
import { login, TestStream } from '../shared/client.ts'
import { type LegateFolder, ON_FREE_PORTS } from '../shared/legate-command.ts'
import { legateFolders } from '../shared/legate-folders.ts'
import { document } from '../shared/migration.ts'
import { redisAvailable, startRedis } from '../shared/peers/redis.ts'
import { describePeer } from '../shared/require.ts'
import { mechanismsIn, scram } from '../shared/streams.ts'

// Most of these run several commands, each a process.
vi.setConfig({ testTimeout: 90_000 })

const HOST = 'VirtualHost "capulet.lit"\n'
const folderWith = legateFolders()

const user = (name: string, content = '') => `<user name='${name}' password='pw'>${content}</user>`
const card = (name: string) => `<vCard xmlns='vcard-temp'><FN>${name}</FN></vCard>`
const broken = `<query xmlns='jabber:iq:roster'><item jid='@'/></query>`

describe('import', () => {
  it('imports what can be imported, tells where the rest is broken, and can be repeated', async () => {
    const folder = folderWith(ON_FREE_PORTS + HOST)
    folder.write('a.xml', document(`${user('juliet')}\n${user('paris', broken)}\n${user('nurse')}`))
    const first = await folder.run(['import', 'a.xml'])
    expect(first).toMatchObject({
      code: 1,
      stdout:
        '2 accounts imported, with 0 archived messages and 0 that wait; 1 not imported, as told above.\n',
    })
    expect(first.stderr).toMatch(
      /^legate: a\.xml:5:\d+: the address of a contact is no JID: "@": paris@capulet\.lit is not imported$/m,
    )
    folder.write('a.xml', document(`${user('juliet')}\n${user('paris')}\n${user('nurse')}`))
    expect(await folder.run(['import', 'a.xml'])).toEqual({
      code: 0,
      signal: null,
      stdout:
        '1 account imported, with 0 archived messages and 0 that wait; 2 there already, and left as they are.\n',
      stderr: '',
    })
    const server = await folder.start()
    await (await login(server.c2sPort, 'paris@capulet.lit/a')).close()
    await server.stop()
  })

  it('of a file that is cut off what is complete is imported', async () => {
    const folder = folderWith(ON_FREE_PORTS + HOST)
    const whole = document(`${user('juliet')}\n${user('nurse', card('Nurse'))}`)
    folder.write('a.xml', whole.slice(0, whole.indexOf('</vCard>')))
    const outcome = await folder.run(['import', 'a.xml'])
    expect(outcome).toMatchObject({ code: 1, stdout: expect.stringMatching(/^1 account imported/) })
    expect(outcome.stderr).toMatch(/a\.xml:5:\d+: this is no well-formed XML: Unclosed root tag/)
    expect((await folder.run(['export', '-'])).stdout.match(/<user /g)).toHaveLength(1)
  })

  it('--dry-run changes nothing, not even that there is a storage', async () => {
    const folder = folderWith(ON_FREE_PORTS + HOST)
    folder.write('a.xml', document(user('juliet') + user('paris', broken)))
    expect(await folder.run(['import', '--dry-run', 'a.xml'])).toMatchObject({
      code: 1,
      stdout: expect.stringMatching(/^1 account can be imported.*; 1 not imported/),
    })
    expect(readdirSync(folder.path).sort()).toEqual(['a.xml', 'prosody.cfg.lua'])
  })

  it('--replace: accounts give way, but not to broken ones, and not while the server runs', async () => {
    const folder = folderWith(ON_FREE_PORTS + HOST)
    folder.write('a.xml', document(user('juliet', card('1')) + user('nurse', card('1'))))
    await folder.run(['import', 'a.xml'])
    folder.write('b.xml', document(user('juliet', card('2')) + user('nurse', card('2') + broken)))
    const server = await folder.start()
    expect(await folder.run(['import', '--replace', 'b.xml'])).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('needs the server to be stopped'),
    })
    await server.stop()
    expect(await folder.run(['import', '--replace', 'b.xml'])).toMatchObject({
      code: 1,
      stdout: expect.stringMatching(/^1 account imported.*; 1 not imported/),
      stderr: expect.stringContaining('nurse@capulet.lit is not imported'),
    })
    const { stdout } = await folder.run(['export', '-'])
    expect(stdout.match(/<FN>.<\/FN>/g)).toEqual(['<FN>2</FN>', '<FN>1</FN>'])
    const cut = document(user('juliet', card('3')))
    folder.write('c.xml', cut.slice(0, -10))
    expect(await folder.run(['import', '--replace', 'c.xml'])).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('nothing was changed'),
    })
    expect((await folder.run(['export', '-'])).stdout).toBe(stdout)
  })

  it('--host and --user, and hosts that there are not', async () => {
    const folder = folderWith(`${ON_FREE_PORTS}${HOST}VirtualHost "montague.lit"\n`)
    folder.write(
      'a.xml',
      `<server-data xmlns='urn:xmpp:pie:0'><host jid='Capulet.lit'>${user('juliet')}${user('nurse')}</host>` +
        `<host jid='montague.lit'>${user('romeo')}</host><host jid='verona.lit'>${user('a')}${user('b')}</host></server-data>`,
    )
    expect((await folder.run(['import', '--user', 'juliet@capulet.lit', 'a.xml'])).stdout).toMatch(
      /^1 account /,
    )
    expect((await folder.run(['import', '--host', 'montague.lit', 'a.xml'])).stdout).toMatch(/^1 account /)
    const rest = await folder.run(['import', 'a.xml'])
    expect(rest.stdout).toMatch(/^1 account imported.*; 2 there already.*; 2 not imported/)
    expect(rest.stderr.match(/no account of verona\.lit is imported/g)).toHaveLength(1)
    expect((await folder.run(['export', '--host', 'montague.lit', '-'])).stdout).toMatch(/romeo/)
    expect((await folder.run(['export', '--user', 'juliet', '-'])).stderr).toMatch(/Add --host/)
  })

  it('from standard input, while the server runs', async () => {
    const folder = folderWith(ON_FREE_PORTS + HOST)
    const server = await folder.start()
    expect(await folder.run(['import', '-'], document(user('juliet')))).toMatchObject({
      code: 0,
      stderr: expect.stringContaining('The server runs: what it knows of a name'),
    })
    // Nothing has come.
    expect(await folder.run(['import', '-'], document(user('juliet')))).toMatchObject({ code: 0, stderr: '' })
    await (await login(server.c2sPort, 'juliet@capulet.lit/a')).close()
    await server.stop()
  })

  it('what an import that was killed has left behind is no account, and the next one imports it', async () => {
    const folder = folderWith(ON_FREE_PORTS + HOST)
    const child = folder.spawn(['import', '-'])
    const whole = document(
      user('juliet', `${card('Juliet')}<archive xmlns='urn:xmpp:pie:0#mam'>${messages(5000)}</archive>`),
    )
    const beginning = whole.slice(0, whole.indexOf('</archive>'))
    child.stdin.on('error', () => {}) // of what it has not read
    child.stdin.write(beginning)
    // Until the messages that came are written.
    const growing = () => statSync(folder.file('data/storage.mdb'), { throwIfNoEntry: false })?.size ?? 0
    while (growing() < 1_000_000) await new Promise((resolve) => setTimeout(resolve, 50))
    expect(await folder.run(['import', '-'], whole)).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/another import is at work \(process \d+\); wait for its end, or end it/),
    })
    child.kill('SIGKILL')
    await once(child, 'exit')
    expect((await folder.run(['export', '-'])).stdout).not.toContain('<user')
    expect((await folder.run(['import', '-'], whole)).stdout).toMatch(
      /^1 account imported, with 5000 archived messages/,
    )
    expect((await folder.run(['export', '-'])).stdout.match(/<result /g)).toHaveLength(5000)
  })

  describe('XEP-0227 §4: files that include others', () => {
    const XI = "xmlns:xi='http://www.w3.org/2001/XInclude'"

    it('of a host, of a user, and within a user', async () => {
      const folder = folderWith(ON_FREE_PORTS + HOST)
      for (const name of ['export', 'export/capulet.lit']) mkdirSync(folder.file(name))
      folder.write(
        'export/all.xml',
        `<server-data xmlns='urn:xmpp:pie:0' ${XI}><xi:include href='capulet.lit.xml'/></server-data>`,
      )
      folder.write(
        'export/capulet.lit.xml',
        `<host xmlns='urn:xmpp:pie:0' ${XI} jid='capulet.lit'><xi:include href='capulet.lit/juliet.xml'/>` +
          `<xi:include href='capulet.lit/nurse%2Exml'/><xi:include href='capulet.lit/broken.xml'/></host>`,
      )
      folder.write(
        'export/capulet.lit/juliet.xml',
        `<user xmlns='urn:xmpp:pie:0' name='juliet' password='pw' ${XI}><xi:include href='card.xml'/></user>`,
      )
      folder.write('export/capulet.lit/card.xml', card('Juliet'))
      folder.write(
        'export/capulet.lit/nurse.xml',
        user('nurse').replace('<user', "<user xmlns='urn:xmpp:pie:0'"),
      )
      folder.write('export/capulet.lit/broken.xml', `<user xmlns='urn:xmpp:pie:0' name='paris'><a></user>`)
      const outcome = await folder.run(['import', 'export/all.xml'])
      expect(outcome.stdout).toMatch(/^2 accounts imported.*; 1 not imported/)
      expect(outcome.stderr).toMatch(/capulet\.lit\/broken\.xml:1:\d+: .* paris@capulet\.lit is not imported/)
      expect((await folder.run(['export', '-'])).stdout).toContain('<FN>Juliet</FN>')
    })

    it.each([
      ['/etc/passwd', 'only a relative reference'],
      ['file:///etc/passwd', 'only a relative reference'],
      ['../prosody.cfg.lua', 'it is not in'],
      ['link.xml', 'it is not in'],
      ['.', 'it is n'],
      ['missing.xml', 'no such file'],
      ['self.xml', 'files include each other'],
    ])('%s is not read', async (href, reason) => {
      const folder = folderWith(ON_FREE_PORTS + HOST)
      mkdirSync(folder.file('export'))
      symlinkSync('/etc/passwd', folder.file('export/link.xml'))
      const include = `<xi:include ${XI} href='${href}'/>`
      folder.write('export/self.xml', include.replace(href, 'self.xml'))
      folder.write('export/all.xml', document(`<user name='juliet' password='pw'>${include}</user>`))
      const outcome = await folder.run(['import', 'export/all.xml'])
      expect(outcome).toMatchObject({ code: 1, stdout: expect.stringMatching(/^0 accounts imported/) })
      expect(outcome.stderr).toContain(reason)
    })

    it('within a contact, a message or the like they are nothing to follow', async () => {
      const folder = folderWith(ON_FREE_PORTS + HOST)
      const inner = `<vCard xmlns='vcard-temp'><include xmlns='http://www.w3.org/2001/XInclude' href='prosody.cfg.lua'/></vCard>`
      folder.write('a.xml', document(user('juliet', inner)))
      expect(await folder.run(['import', 'a.xml'])).toMatchObject({ code: 0 })
      expect((await folder.run(['export', '-'])).stdout).toContain('href="prosody.cfg.lua"')
    })
  })
})

describe('export', () => {
  it('writes a file for its owner only, complete or not at all', async () => {
    const folder = folderWith(ON_FREE_PORTS + HOST)
    expect(await folder.run(['export', 'a.xml'])).toMatchObject({ code: 1 })
    await folder.run(['import', '-'], document(user('juliet')))
    expect(await folder.run(['export', 'a.xml'])).toEqual({
      code: 0,
      signal: null,
      stdout: '',
      stderr: '1 account exported, with 0 archived messages and 0 that wait.\n',
    })
    expect(statSync(folder.file('a.xml')).mode & 0o777).toBe(0o600)
    expect(await folder.run(['export', '--user', 'nobody@capulet.lit', 'b.xml'])).toMatchObject({ code: 1 })
    expect(await folder.run(['export', 'data'])).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('no file'),
    })
    expect(readdirSync(folder.path).sort()).toEqual(['a.xml', 'data', 'prosody.cfg.lua'])
  })
})

describe('accounts with keys of one hash only', () => {
  const keys = `<scram-credentials xmlns='urn:xmpp:pie:0#scram' mechanism='SCRAM-SHA-1'><iter-count>4096</iter-count>
    <salt>QSXCR+Q6sek8bf92</salt><server-key>D+CSWLOshSulAsxiupA+qs2/fTE=</server-key>
    <stored-key>6dlGYMOdZcOPutkcNY8U2g7vK9Y=</stored-key></scram-credentials>` // of RFC 5802 §5: "pencil"

  async function offered(port: number): Promise<{ stream: TestStream; mechanisms: string[] }> {
    const stream = await TestStream.connect(port)
    await stream.open("to='capulet.lit' version='1.0'")
    return { stream, mechanisms: mechanismsIn(await stream.named('features')) }
  }

  it('no mechanism is offered that they could not use, until they have all keys', async () => {
    const folder = folderWith(ON_FREE_PORTS + HOST)
    const text = document(`<user name='user'>${keys}</user>`)
    expect(await folder.run(['import', '-'], text)).toMatchObject({ code: 0 })
    const server = await folder.start()
    const first = await offered(server.c2sPort)
    expect(first.mechanisms).toEqual(['SCRAM-SHA-1', 'PLAIN'])
    expect((await scram(first.stream, 'SCRAM-SHA-1', 'user', { password: 'pencil' })).getName()).toBe(
      'success',
    )
    await first.stream.destroy()
    await expect(login(server.c2sPort, 'user@capulet.lit/a', { password: 'pen' })).rejects.toThrow(
      'not-authorized',
    )
    await (await login(server.c2sPort, 'user@capulet.lit/a', { password: 'pencil' })).close()
    // With the password the missing keys were made.
    const second = await offered(server.c2sPort)
    expect(second.mechanisms).toEqual(['SCRAM-SHA-256', 'SCRAM-SHA-1', 'PLAIN'])
    for (const mechanism of ['SCRAM-SHA-256', 'SCRAM-SHA-1']) {
      const { stream } = await offered(server.c2sPort)
      expect((await scram(stream, mechanism, 'user', { password: 'pencil' })).getName()).toBe('success')
      await stream.destroy()
    }
    await second.stream.destroy()
    await server.stop()
  })

  it('imported while the server runs, one try is enough for it to learn', async () => {
    const folder = folderWith(ON_FREE_PORTS + HOST)
    const server = await folder.start()
    await folder.run(['import', '-'], document(`<user name='user'>${keys}</user>`))
    const first = await offered(server.c2sPort)
    expect((await scram(first.stream, 'SCRAM-SHA-256', 'user', { password: 'pencil' })).getName()).toBe(
      'failure',
    )
    await first.stream.destroy()
    const second = await offered(server.c2sPort)
    expect(second.mechanisms).toEqual(['SCRAM-SHA-1', 'PLAIN'])
    await second.stream.destroy()
    // Also a new password makes all keys.
    await folder.run(['passwd', 'user@capulet.lit'], 'new\n')
    await server.stop()
    const again = await folder.start()
    const third = await offered(again.c2sPort)
    expect(third.mechanisms).toEqual(['SCRAM-SHA-256', 'SCRAM-SHA-1', 'PLAIN'])
    await third.stream.destroy()
    await again.stop()
  })
})

describe('a file of 100 MB', () => {
  /** What the most was that a process had in memory at a time, in MB; it has to run. */
  function peakOf(pid: number): number {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8')
    return Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1] ?? 0) / 1000
  }

  async function measured(folder: LegateFolder, words: string[]): Promise<{ outcome: string; peak: number }> {
    const child = folder.spawn(words)
    let outcome = ''
    let peak = 0
    child.stdout.on('data', (chunk: Buffer) => {
      outcome += chunk
    })
    child.stderr.on('data', (chunk: Buffer) => {
      outcome += chunk
    })
    const look = setInterval(() => {
      try {
        peak = Math.max(peak, peakOf(child.pid!))
      } catch {
        // It has ended.
      }
    }, 20)
    await once(child, 'close')
    clearInterval(look)
    return { outcome, peak }
  }

  it('is imported and exported in less than 200 MB, and comes back as it was', {
    timeout: 240_000,
  }, async () => {
    const folder = folderWith(ON_FREE_PORTS + HOST)
    await writeLarge(folder.file('large.xml'), 100_000_000)
    const imported = await measured(folder, ['import', 'large.xml'])
    expect(imported.outcome).toMatch(/accounts imported, with \d+ archived messages/)
    // It takes more than ten seconds, mostly.
    expect(imported.peak).toBeGreaterThan(50)
    expect(imported.peak).toBeLessThan(200)
    const exported = await measured(folder, ['export', 'out.xml'])
    expect(exported.outcome).toMatch(/accounts exported/)
    expect(exported.peak).toBeLessThan(200)
    expect(statSync(folder.file('out.xml')).size).toBeGreaterThan(95_000_000)
  })
})

/** Messages of an archive, one a second. */
function messages(count: number, from = 0): string {
  let text = ''
  for (let i = from; i < from + count; i++) {
    const stamp = new Date(1_500_000_000_000 + i * 1000).toISOString()
    text +=
      `<result xmlns='urn:xmpp:mam:2' id='a${i}'><forwarded xmlns='urn:xmpp:forward:0'><delay xmlns='urn:xmpp:delay' stamp='${stamp}'/>` +
      `<message xmlns='jabber:client' to='juliet@capulet.lit/balcony' from='romeo${i % 7}@montague.lit/orchard' type='chat' id='m${i}'>` +
      `<body>Call me but love, and I will be new baptized; Henceforth I never will be Romeo. ${i}</body></message></forwarded></result>`
  }
  return text
}

/** A file with accounts of all sizes: one has half of it in its archive. */
async function writeLarge(path: string, size: number): Promise<void> {
  const out = createWriteStream(path)
  let written = 0
  const write = async (text: string): Promise<void> => {
    written += text.length
    if (!out.write(text)) await once(out, 'drain')
  }
  await write(`<server-data xmlns='urn:xmpp:pie:0'><host jid='capulet.lit'>`)
  const contacts = Array.from(
    { length: 50 },
    (_, i) => `<item jid='c${i}@montague.lit' name='Contact ${i}' subscription='both'/>`,
  )
  const photo = `<PHOTO><BINVAL>${'QUJD'.repeat(5000)}</BINVAL></PHOTO>`
  for (let account = 0; written < size; account++) {
    const content = `<query xmlns='jabber:iq:roster'>${contacts.join('')}</query><vCard xmlns='vcard-temp'>${photo}</vCard>`
    await write(`<user name='user${account}'>${content}<archive xmlns='urn:xmpp:pie:0#mam'>`)
    const most = account === 0 ? size / 2 : account % 10 === 0 ? written + 1_000_000 : written + 20_000
    for (let i = 0; written < Math.min(most, size); i += 100) await write(messages(100, i))
    await write('</archive></user>')
  }
  await write('</host></server-data>')
  out.end()
  await once(out, 'close')
}

describePeer('Redis', redisAvailable(), () => {
  it.runIf(process.geteuid?.() === 0)(
    'root reads what is its own from beginning to end, whosever the data folder is',
    async () => {
      const NOBODY = 65534
      const peer = await startRedis()
      try {
        const folder = folderWith(
          `${ON_FREE_PORTS}storage = "redis"\nredis = { url = "${peer.redis.url}" }\n${HOST}`,
        )
        mkdirSync(folder.file('data'))
        chownSync(folder.file('data'), NOBODY, NOBODY)
        const source = folder.file('prosody/capulet%2elit')
        for (const store of ['accounts', 'vcard']) mkdirSync(join(source, store), { recursive: true })
        // So much that the storage is opened anew some times.
        const photo = 'QUJD'.repeat(15_000)
        for (let user = 0; user < 600; user++) {
          writeFileSync(join(source, 'accounts', `u${user}.dat`), 'return { ["password"] = "pw"; };\n')
          writeFileSync(
            join(source, 'vcard', `u${user}.dat`),
            `return { ["name"] = "vCard"; ["attr"] = { ["xmlns"] = "vcard-temp"; }; "${photo}"; };\n`,
          )
        }
        chmodSync(folder.file('prosody'), 0o700)
        expect(await folder.run(['import', '--from-prosody', 'prosody'])).toMatchObject({
          code: 0,
          stdout: '600 accounts imported, with 0 archived messages and 0 that wait.\n',
        })
      } finally {
        await peer.stop()
      }
    },
  )

  it('an export of one storage is, imported over another and exported again, the same', async () => {
    const peer = await startRedis()
    try {
      const internal = folderWith(`${ON_FREE_PORTS}${HOST}`)
      const redis = folderWith(
        `${ON_FREE_PORTS}storage = "redis"\nredis = { url = "${peer.redis.url}" }\n${HOST}`,
      )
      const archive = `<archive xmlns='urn:xmpp:pie:0#mam'>${messages(1500)}</archive>`
      const text = document(
        user('juliet', card('Juliet') + archive) + user('Nurse') + user('äneas', card('1')),
      )
      expect(await internal.run(['import', '-'], text)).toMatchObject({ code: 0 })
      const { stdout } = await internal.run(['export', '-'])
      expect(await redis.run(['import', '-'], stdout)).toMatchObject({ code: 0 })
      expect((await redis.run(['export', '-'])).stdout).toBe(stdout)
      const again = folderWith(`${ON_FREE_PORTS}${HOST}`)
      writeFileSync(again.file('b.xml'), stdout)
      expect(await again.run(['import', 'b.xml'])).toMatchObject({ code: 0 })
      expect((await again.run(['export', '-'])).stdout).toBe(stdout)
    } finally {
      await peer.stop()
    }
  })
})
