// legate register, adduser, passwd and deluser, with and without a server that runs.

import { spawn, spawnSync } from 'node:child_process'
import { chmodSync, chownSync, existsSync, mkdirSync, readdirSync, statSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { login } from '../shared/client.ts'
import { enter, getItem, setRoster, settled, stateIn, subscribe, taken } from '../shared/im-client.ts'
import { COMMAND, type LegateFolder, ON_FREE_PORTS } from '../shared/legate-command.ts'
import { legateFolders } from '../shared/legate-folders.ts'

const HOST = 'VirtualHost "localhost"\n'
const folderWith = legateFolders()

describe('while the server runs', () => {
  it('an account can log in as soon as it is registered, and no more once it is deleted', async () => {
    const folder = folderWith(ON_FREE_PORTS + HOST)
    const server = await folder.start()
    await expect(login(server.c2sPort, 'juliet@localhost/a')).rejects.toThrow(/not-authorized/)
    expect(await folder.run(['register', 'Juliet', 'LOCALHOST', 'pw'])).toEqual({
      code: 0,
      signal: null,
      stdout: 'juliet@localhost is added.\n',
      stderr: '',
    })
    const first = await login(server.c2sPort, 'juliet@localhost/a')
    await first.close()
    expect(await folder.run(['deluser', 'juliet@localhost'])).toMatchObject({ code: 0, stderr: '' })
    await expect(login(server.c2sPort, 'juliet@localhost/a')).rejects.toThrow(/not-authorized/)
    expect(await server.stop()).toMatchObject({ code: 0 })
  })

  it('a changed password holds for the next login', async () => {
    const folder = folderWith(ON_FREE_PORTS + HOST)
    const server = await folder.start()
    await folder.run(['register', 'juliet', 'localhost', 'pw'])
    const open = await login(server.c2sPort, 'juliet@localhost/a')
    expect(await folder.run(['passwd', 'juliet@localhost'], 'other\n')).toMatchObject({ code: 0, stderr: '' })
    await open.settled()
    await expect(login(server.c2sPort, 'juliet@localhost/b')).rejects.toThrow(/not-authorized/)
    const next = await login(server.c2sPort, 'juliet@localhost/b', { password: 'other' })
    await next.close()
    await open.close()
    await server.stop()
  })

  it('deluser takes the contacts too: a new account of that name begins empty', async () => {
    const folder = folderWith(ON_FREE_PORTS + HOST)
    await folder.run(['register', 'juliet', 'localhost', 'pw'])
    const server = await folder.start()
    const roster = "<query xmlns='jabber:iq:roster'"
    const before = await login(server.c2sPort, 'juliet@localhost/a')
    await before.ask(`<iq type='set' id='add'>${roster}><item jid='romeo@localhost'/></query></iq>`)
    expect(String(await before.ask(`<iq type='get' id='1'>${roster}/></iq>`))).toMatch(/romeo@localhost/)
    await before.close()
    await folder.run(['deluser', 'juliet@localhost'])
    await folder.run(['register', 'juliet', 'localhost', 'pw'])
    const after = await login(server.c2sPort, 'juliet@localhost/a')
    expect(String(await after.ask(`<iq type='get' id='2'>${roster}/></iq>`))).not.toMatch(/romeo@localhost/)
    await after.close()
    await server.stop()
  })
})

describe('deluser tells contacts that subscriptions have ended (XEP-0077 §3.2)', () => {
  const PAIR = ['juliet@localhost', 'romeo@localhost'] as const

  /** Both see each other; the server runs. */
  async function friends() {
    const folder = folderWith(ON_FREE_PORTS + HOST)
    for (const name of ['juliet', 'romeo']) await folder.run(['register', name, 'localhost', 'pw'])
    const server = await folder.start()
    const [juliet, romeo] = [
      await enter(server.c2sPort, `${PAIR[0]}/a`),
      await enter(server.c2sPort, `${PAIR[1]}/b`),
    ]
    await subscribe('localhost', juliet, romeo)
    await subscribe('localhost', romeo, juliet)
    await settled('localhost', juliet, romeo)
    return { folder, server, juliet, romeo }
  }

  it('at once where the server runs', async () => {
    const { folder, server, romeo } = await friends()
    taken(romeo)
    const { code, stdout, stderr } = await folder.run(['deluser', PAIR[0]])
    expect([code, stdout, stderr]).toEqual([
      0,
      'juliet@localhost is deleted, with all that was stored of it.\n1 session of it ended.\n',
      '',
    ])
    await expect.poll(async () => stateIn(await getItem(romeo, PAIR[0]))).toBe('none')
    await romeo.settled()
    const types = taken(romeo).map((line) => line.split(' ')[0])
    expect(types.filter((type) => type !== 'push').sort()).toEqual([
      'unavailable',
      'unsubscribe',
      'unsubscribed',
    ])
    await romeo.close()
    await server.stop()
  })

  it('when it is started, where it does not run; a new account of that name is not meant', async () => {
    const { folder, server } = await friends()
    await server.stop()
    expect(await folder.run(['deluser', PAIR[0]])).toMatchObject({
      code: 0,
      stdout:
        'juliet@localhost is deleted, with all that was stored of it.\n' +
        'Its contacts are told by the server, within a minute if one runs, or when it is started.\n',
      stderr: '',
    })
    await folder.run(['register', 'juliet', 'localhost', 'pw'])
    const again = await folder.start()
    const romeo = await enter(again.c2sPort, `${PAIR[1]}/b`)
    await expect.poll(async () => stateIn(await getItem(romeo, PAIR[0]))).toBe('none')
    const juliet = await enter(again.c2sPort, `${PAIR[0]}/a`)
    await settled('localhost', juliet, romeo)
    expect(taken(romeo).filter((line) => line.startsWith('available'))).toEqual([`available ${romeo.jid}`])
    await juliet.close()
    await romeo.close()
    await again.stop()
  })
})

it('restore gives back an account that was removed, with what it had', async () => {
  const folder = folderWith(
    `${ON_FREE_PORTS}${HOST}modules_enabled = { "register" }\nregistration_delete_grace_period = "1 week"\n`,
  )
  await folder.run(['register', 'juliet', 'localhost', 'pw'])
  const server = await folder.start()
  const juliet = await enter(server.c2sPort, 'juliet@localhost/a')
  await setRoster(juliet, "<item jid='romeo@localhost'/>")
  await juliet.ask(`<iq type='set' id='bye'><query xmlns='jabber:iq:register'><remove/></query></iq>`)
  await juliet.closed()
  await expect(login(server.c2sPort, 'juliet@localhost/b')).rejects.toThrow(/account-disabled/)
  for (const command of ['adduser', 'passwd']) {
    const { code, stderr } = await folder.run([command, 'juliet@localhost'], 'other\n')
    expect([code, stderr]).toEqual([
      1,
      expect.stringMatching(/was removed by .*: legate restore juliet@localhost/),
    ])
  }
  expect(await folder.run(['register', 'juliet', 'localhost', 'other'])).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/was removed by .*: legate restore juliet@localhost/),
  })
  expect(await folder.run(['restore', 'juliet@localhost'])).toMatchObject({ code: 0, stderr: '' })
  expect(await folder.run(['restore', 'juliet@localhost'])).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('has not been removed'),
  })
  const again = await enter(server.c2sPort, 'juliet@localhost/c')
  expect(stateIn(await getItem(again, 'romeo@localhost'))).toBe('none')
  await again.close()
  await server.stop()
})

describe('adduser', () => {
  it('takes the first line of standard input where that is no terminal', async () => {
    const folder = folderWith(ON_FREE_PORTS + HOST)
    const input = 'pä ss\r\nthe next line\n'
    const outcome = await folder.run(['adduser', 'juliet@localhost'], input)
    expect(outcome).toMatchObject({ code: 0, stdout: 'juliet@localhost is added.\n' })
    const server = await folder.start()
    await (await login(server.c2sPort, 'juliet@localhost/a', { password: 'pä ss' })).close()
    await server.stop()
  })

  const terminal = spawnSync('script', ['--version']).status === 0
  const told = terminal ? '' : ' (skipped: "script" of util-linux is not installed)'

  /** Answers each prompt on a pseudo-terminal. */
  function onTerminal(folder: LegateFolder, command: string, answers: string[]) {
    return new Promise<{ code: number | null; text: string }>((resolve) => {
      const line = `'${process.execPath}' '${COMMAND}' ${command}`
      const child = spawn('script', ['-qec', line, '/dev/null'], { cwd: folder.path })
      let text = ''
      let prompts = 0
      child.stdout.on('data', (chunk: Buffer) => {
        text += chunk
        for (const seen = text.match(/(Password for .*|again): /g)?.length ?? 0; prompts < seen; prompts++) {
          child.stdin.write(answers[prompts] ?? '')
        }
      })
      child.once('close', (code) => resolve({ code, text }))
    })
  }

  it.skipIf(!terminal)(`asks twice on a terminal, without showing the password${told}`, async () => {
    const folder = folderWith(ON_FREE_PORTS + HOST)
    const typed = ['secrez\u007ft\r', 'nonsense\u0015secret\r']
    const { code, text } = await onTerminal(folder, 'adduser juliet@localhost', typed)
    const shown = 'Password for juliet@localhost: \r\nThe same again: \r\njuliet@localhost is added.\r\n'
    expect(text.slice(0, shown.length)).toBe(shown)
    expect(code).toBe(0)
    const server = await folder.start()
    await (await login(server.c2sPort, 'juliet@localhost/a', { password: 'secret' })).close()
    await server.stop()
  })

  it.skipIf(!terminal)(`adds nothing when the two differ, or with Ctrl-C${told}`, async () => {
    const folder = folderWith(ON_FREE_PORTS + HOST)
    const differing = await onTerminal(folder, 'adduser juliet@localhost', ['one\r', 'two\r'])
    expect(differing).toMatchObject({ code: 1, text: expect.stringContaining('the two passwords differ') })
    const cancelled = await onTerminal(folder, 'adduser juliet@localhost', ['one\u0003'])
    expect(cancelled).toMatchObject({ code: 1, text: expect.stringContaining('cancelled') })
    expect(await folder.run(['deluser', 'juliet@localhost'])).toMatchObject({ code: 1 })
  })
})

describe('mistakes are told, with exit code 1', () => {
  const config = `${ON_FREE_PORTS}${HOST}Component "pubsub.localhost"\ncomponent_secret = "s"\n`

  it.each([
    ['adduser', ['adduser', 'juliet'], /"juliet" has no user; a JID looks like juliet@example\.org/],
    ['adduser', ['adduser', '@'], /"@" is no JID/],
    ['adduser', ['adduser', 'juliet@localhost/a'], /has a resource; the account is juliet@localhost/],
    [
      'adduser',
      ['adduser', 'juliet@example.org'],
      /no VirtualHost "example\.org" in .*; those there are: localhost/,
    ],
    ['adduser', ['adduser', 'juliet@pubsub.localhost'], /pubsub\.localhost is a component/],
    ['adduser', ['adduser', 'juliet@localhost'], /standard input has no password/],
    ['register', ['register', 'a@b', 'localhost', 'pw'], /legate register USER HOST PASSWORD/],
    ['register', ['register', 'juliet', 'localhost', ''], /the password is empty/],
    [
      'passwd',
      ['passwd', 'juliet@localhost'],
      /there is no account juliet@localhost; to add it: legate adduser/,
    ],
    ['deluser', ['deluser', 'juliet@localhost'], /there is no account juliet@localhost/],
  ])('%s %j', async (_, words, told) => {
    const { code, stdout, stderr } = await folderWith(config).run(words)
    expect(stderr).toMatch(told)
    expect(stderr).not.toMatch(/\n\s+at /)
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
  })

  it('an account that is there already keeps its password', async () => {
    const folder = folderWith(config)
    await folder.run(['register', 'juliet', 'localhost', 'pw'])
    for (const words of [
      ['register', 'juliet', 'localhost', 'other'],
      ['adduser', 'juliet@localhost'],
    ]) {
      const { code, stderr } = await folder.run(words, 'other\n')
      expect(stderr).toMatch(/there is an account juliet@localhost already; .*legate passwd juliet@localhost/)
      expect(code).toBe(1)
    }
    const server = await folder.start()
    await (await login(server.c2sPort, 'juliet@localhost/a')).close()
    await server.stop()
  })

  it('passwd and deluser make no data folder', async () => {
    const folder = folderWith(config)
    await folder.run(['passwd', 'juliet@localhost'], 'pw\n')
    await folder.run(['deluser', 'juliet@localhost'])
    expect(existsSync(folder.file('data'))).toBe(false)
  })

  it('storage in memory has no accounts to add to', async () => {
    const { code, stderr } = await folderWith(`storage = "memory"\n${config}`).run(
      ['adduser', 'juliet@localhost'],
      'pw\n',
    )
    expect(stderr).toMatch(/kept in memory.*storage = "internal"/)
    expect(code).toBe(1)
  })
})

it.each([
  [[]],
  [['nonsense']],
  [['adduser']],
  [['register', 'juliet']],
  [['check', '--nonsense']],
  [['start', 'x']],
])('legate %j: not understood, exit code 2', async (words) => {
  const { code, stdout, stderr } = await folderWith(HOST).run(words)
  expect(stderr).not.toBe('')
  expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
})

it.each([[['--help']], [['help', 'start']], [['adduser', '--help']], [['--version']]])(
  'legate %j',
  async (words) => {
    expect(await folderWith(HOST).run(words)).toMatchObject({ code: 0, stderr: '' })
  },
)

it.runIf(process.geteuid?.() === 0)(
  'files that root makes belong to the owner of the data folder',
  async () => {
    const NOBODY = 65534
    const folder = folderWith(ON_FREE_PORTS + HOST)
    chmodSync(folder.path, 0o755)
    mkdirSync(folder.file('data'))
    chownSync(folder.file('data'), NOBODY, NOBODY)
    expect(await folder.run(['register', 'juliet', 'localhost', 'pw'])).toMatchObject({ code: 0, stderr: '' })
    const files = readdirSync(folder.file('data'))
    expect(files).not.toHaveLength(0)
    for (const file of files) expect(statSync(folder.file(`data/${file}`)).uid).toBe(NOBODY)
    expect(await folder.run(['check'])).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/Checked as the user nobody/),
    })
  },
)
