// The admin channel: what is written to it, who may, and what is in the place of its socket.

import {
  chmodSync,
  chownSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { connect, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { statusSchema } from '../../server/admin/answers.ts'
import { ask, NobodyThere } from '../../server/admin/ask.ts'
import {
  AdminChannel,
  type AdminCommand,
  type ChannelLimits,
  ServerRuns,
} from '../../server/admin/channel.ts'
import { AdminError } from '../../server/admin/protocol.ts'
import { holdPath, socketPathOf } from '../../server/admin/socket-path.ts'
import { askServer } from '../../server/cli/running-server.ts'
import { configFromObject } from '../../server/config/index.ts'
import { silentLogger } from '../../server/log.ts'

let folder: string
const open: AdminChannel[] = []

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'legate-admin-'))
})

afterEach(() => {
  for (const channel of open.splice(0)) channel.close()
  rmSync(folder, { recursive: true, force: true })
})

const COMMANDS: Readonly<Record<string, AdminCommand>> = {
  echo: ({ text }) => text,
  refuse: () => {
    throw new AdminError('not today')
  },
  fail: () => Promise.reject(new Error('broken')),
  endless: () => {
    const loop: Record<string, unknown> = {}
    loop['self'] = loop
    return loop
  },
  never: () => new Promise(() => {}),
}

async function channelIn(path: string, limits?: ChannelLimits): Promise<AdminChannel> {
  const channel = await AdminChannel.open(path, limits)
  open.push(channel)
  channel.serve(COMMANDS, silentLogger)
  return channel
}

function echo(path = socketPathOf(folder), text = 'hello'): Promise<unknown> {
  return ask(path, { command: 'echo', text }, 5000)
}

/** Everything that comes until the connection is closed; a reset is a close too. */
function conversation(socket: Socket): Promise<string> {
  return new Promise((resolve) => {
    let text = ''
    socket.on('data', (chunk) => {
      text += chunk
    })
    socket.on('error', () => {})
    socket.once('close', () => resolve(text))
  })
}

describe('a request', () => {
  it('is answered with the process and the result, and the connection ends', async () => {
    await channelIn(folder)
    expect(await echo()).toEqual({ legate: 1, process: process.pid, ok: true, result: 'hello' })
  })

  it('may be cut anywhere, and end with the stream instead of a line end', async () => {
    await channelIn(folder)
    const socket = connect(socketPathOf(folder))
    const answer = conversation(socket)
    socket.setNoDelay(true)
    for (const byte of Buffer.from('{"legate":1,"command":"echo","text":"ü€😀"}')) {
      await new Promise<void>((resolve) => socket.write(Buffer.from([byte]), () => resolve()))
    }
    socket.end()
    expect(JSON.parse(await answer)).toMatchObject({ ok: true, result: 'ü€😀' })
  })

  it.each([
    ['garbage', 'garbage', /no JSON/],
    ['nothing', '', /no JSON/],
    ['bytes that are no UTF-8', Buffer.from([0xff, 0xfe, 0x00, 0x80]), /no JSON/],
    ['another value', '[1]', /no request/],
    ['null', 'null', /no request/],
    ['no version', '{"command":"echo"}', /no request/],
    ['another version', '{"legate":2,"command":"echo"}', /speaks version 1/],
    ['an unknown command', '{"legate":1,"command":"shutdown"}', /no command "shutdown"/],
    ['a name that every object has', '{"legate":1,"command":"constructor"}', /no command/],
    ['a prototype', '{"legate":1,"command":"__proto__","__proto__":{"ok":1}}', /no command/],
    ['very deep JSON', '['.repeat(16_000), /no JSON/],
    ['one that is refused', '{"legate":1,"command":"refuse"}', /^not today$/],
    ['one that fails', '{"legate":1,"command":"fail"}', /its log says why/],
    ['one whose result is no JSON', '{"legate":1,"command":"endless"}', /its log says why/],
    ['one without an end', 'x'.repeat(1_000_000), /too long/],
  ])('%s is answered with an error', async (_, request, told) => {
    await channelIn(folder)
    const socket = connect(socketPathOf(folder))
    const answer = conversation(socket)
    socket.write(request)
    socket.write('\n')
    const read = JSON.parse(await answer)
    expect(read).toMatchObject({ legate: 1, ok: false })
    expect(read.error).toMatch(told)
    expect(await echo()).toMatchObject({ ok: true })
  })

  it('that does not come in time ends the connection', async () => {
    await channelIn(folder, { request: 50 })
    const silent = connect(socketPathOf(folder))
    const half = connect(socketPathOf(folder))
    half.write('{"legate":1,')
    expect(await Promise.all([conversation(silent), conversation(half)])).toEqual(['', ''])
  })

  it('whose answer nobody takes ends the connection', async () => {
    const channel = await channelIn(folder, { answer: 50 })
    channel.serve({ large: () => 'x'.repeat(10_000_000) }, silentLogger)
    const socket = connect(socketPathOf(folder)) // which nothing is read from
    let gone = false
    socket.once('error', () => {
      gone = true
    })
    socket.write('{"legate":1,"command":"large"}\n')
    await expect
      .poll(() => {
        if (!gone) socket.write(' ')
        return gone
      })
      .toBe(true)
    expect(await ask(socketPathOf(folder), { command: 'ping' }, 5000)).toMatchObject({ ok: true })
  })
})

describe('the command that asks', () => {
  const config = () => configFromObject({ data_path: folder, virtualHosts: { 'capulet.lit': {} } })

  it('says so when the server is of another release', async () => {
    const channel = await channelIn(folder)
    channel.serve({ status: () => ({ version: 'another' }) }, silentLogger)
    const asking = askServer(config(), { command: 'status' }, statusSchema)
    await expect(asking).rejects.toThrow(/may be of another release than this command; restart it/)
  })

  it('shows what would control the terminal', async () => {
    const channel = await channelIn(folder)
    const refuse = () => {
      throw new AdminError('\u001b[2J')
    }
    channel.serve({ status: refuse }, silentLogger)
    await expect(askServer(config(), { command: 'status' }, statusSchema)).rejects.toThrow('\\u001b[2J')
  })
})

describe('connections', () => {
  it('of those that say nothing the oldest are ended, and who asks is answered', async () => {
    await channelIn(folder, { connections: 10 })
    const silent = Array.from({ length: 300 }, () => connect(socketPathOf(folder)))
    const ends = silent.map(conversation)
    expect(await echo()).toMatchObject({ ok: true })
    await Promise.all(ends.slice(0, 200))
    for (const socket of silent) socket.destroy()
    await Promise.all(ends)
    expect(await echo()).toMatchObject({ ok: true })
  })

  it('that go before the answer disturb nobody', async () => {
    await channelIn(folder)
    for (let count = 0; count < 50; count++) {
      const socket = connect(socketPathOf(folder))
      socket.on('error', () => {})
      socket.write('{"legate":1,"command":"never"}\n{"legate":1', () => socket.destroy())
      await conversation(socket)
    }
    expect(await echo()).toMatchObject({ ok: true })
  })

  it('a command that never ends is given up by who asks', async () => {
    await channelIn(folder)
    await expect(ask(socketPathOf(folder), { command: 'never' }, 100)).rejects.toThrow(
      /no answer within 0.1 s/,
    )
  })
})

describe('the socket', () => {
  it('is for its owner only, whatever the umask is', async () => {
    const before = process.umask(0)
    try {
      await channelIn(join(folder, 'data'))
    } finally {
      process.umask(before)
    }
    expect(statSync(socketPathOf(join(folder, 'data'))).mode & 0o777).toBe(0o600)
    expect(statSync(join(folder, 'data')).mode & 0o777).toBe(0o700)
    expect(process.umask()).toBe(before)
  })

  it('is gone when the channel is closed', async () => {
    const channel = await channelIn(folder)
    channel.close()
    expect(existsSync(socketPathOf(folder))).toBe(false)
    await expect(echo()).rejects.toThrow(NobodyThere)
  })

  it('of a server that lives is left alone', async () => {
    await channelIn(folder)
    await expect(AdminChannel.open(folder)).rejects.toThrow(ServerRuns)
    await expect(AdminChannel.open(folder)).rejects.toThrow(new RegExp(`as process ${process.pid}; end that`))
    expect(await echo()).toMatchObject({ ok: true })
  })

  it('of another program is left alone', async () => {
    const other = createServer((socket) => socket.end('hello?\n', () => socket.destroy()))
    await new Promise<void>((resolve) => other.listen(socketPathOf(folder), resolve))
    await expect(AdminChannel.open(folder)).rejects.toThrow(/gives no answer .*not understood/)
    await new Promise((resolve) => other.close(resolve))
  })

  it.each([
    ['a file', (path: string) => writeFileSync(path, 'precious')],
    ['a folder', (path: string) => mkdirSync(path)],
    ['a link', (path: string) => symlinkSync('/etc/passwd', path)],
  ])('%s in its place is left alone', async (_, make) => {
    make(socketPathOf(folder))
    const before = lstatSync(socketPathOf(folder))
    await expect(AdminChannel.open(folder)).rejects.toThrow(/is no socket: move it away/)
    expect(lstatSync(socketPathOf(folder)).ino).toBe(before.ino)
  })

  it('that was put in its place meanwhile is not removed', async () => {
    const first = await channelIn(folder)
    rmSync(socketPathOf(folder))
    await channelIn(folder)
    first.remove()
    first.close()
    expect(await echo()).toMatchObject({ ok: true })
  })

  it.runIf(process.platform === 'linux')('may have a path that is longer than the system takes', async () => {
    const deep = join(folder, 'x'.repeat(100), 'y'.repeat(100))
    const channel = await channelIn(deep)
    const held = holdPath(socketPathOf(deep))
    expect(await echo(held.path)).toMatchObject({ ok: true, result: 'hello' })
    held.release()
    await expect(AdminChannel.open(deep)).rejects.toThrow(ServerRuns)
    channel.close()
    expect(existsSync(socketPathOf(deep))).toBe(false)
  })

  it('of two that start at the same time one has it', async () => {
    // What a dead server leaves: a socket that nobody listens on.
    const dead = await channelIn(folder)
    const kept = join(folder, 'kept')
    linkSync(socketPathOf(folder), kept)
    dead.close()
    linkSync(kept, socketPathOf(folder))
    const results = await Promise.allSettled([channelIn(folder), channelIn(folder)])
    expect(results.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected'])
    expect(results.find(({ status }) => status === 'rejected')).toMatchObject({
      reason: expect.any(ServerRuns),
    })
    expect(await echo()).toMatchObject({ ok: true })
  })

  it.runIf(process.geteuid?.() === 0)('of a server that root runs is the folder owner’s', async () => {
    const NOBODY = 65534
    chmodSync(folder, 0o700)
    chownSync(folder, NOBODY, NOBODY)
    await channelIn(folder)
    expect(statSync(socketPathOf(folder))).toMatchObject({ uid: NOBODY, gid: NOBODY })
  })
})
