// The servers that the bench measures: each takes the bench's work, and leaves nothing behind.
import { X509Certificate } from 'node:crypto'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { mkdir, mkdtemp, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Element } from '@xmpp/xml'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { COMPONENT, DELEGATED_NAMESPACE, HOST, PASSWORD, SECRET } from '../../bench/load/stanzas.ts'
import { ejabberd } from '../../bench/peers/ejabberd.ts'
import { legate } from '../../bench/peers/legate.ts'
import type { BenchPeer, BenchWork, RunningPeer } from '../../bench/peers/peer.ts'
import { prosody } from '../../bench/peers/prosody.ts'
import { tlsFiles } from '../../bench/peers/tls-files.ts'
import { connectComponent, login, type TestStream } from '../shared/client.ts'
import { describePeer } from '../shared/require.ts'
import { bindIq, opened, scram, secured } from '../shared/streams.ts'

const OTHER_NAMESPACE = 'urn:example:other'
const NAMESPACES = [DELEGATED_NAMESPACE, OTHER_NAMESPACE]
const ACCOUNTS = ['u0', 'u1', 'u2'].map((user) => ({ user, host: HOST, password: PASSWORD }))

/** ejabberd speaks version 1, and advertises a namespace for the host and for its accounts, in this order. */
const VERSION_1 = { namespace: 'urn:xmpp:delegation:1', advertisements: 2 }
const VERSION_2 = { namespace: 'urn:xmpp:delegation:2', advertisements: 1 }

describePeer('ejabberd', await ejabberd.available(), () => {
  takesTheWork(ejabberd, VERSION_1)
  describe('with keys for passwords', () => {
    takesLogins(ejabberd, { passwords: 'keys' })
  })
})

describePeer('ejabberd, not started', await ejabberd.available(), () => {
  it('says why', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'legate-bench-peers-'))
    vi.stubEnv('TMPDIR', folder)
    try {
      const work = { directory: folder, accounts: [], namespaces: [], tls: { key: '', certificate: '' } }
      const starting = ejabberd.start({ ...work, launcher: ['false'] })
      await expect(starting).rejects.toThrow('ejabberd did not start: ended with code 1')
      expect(readdirSync(folder)).toEqual([])
    } finally {
      vi.unstubAllEnvs()
      await rm(folder, { recursive: true })
    }
  })
})

describePeer('Prosody', await prosody.available(), () => {
  takesTheWork(prosody, VERSION_2)
  describe('with keys for passwords', () => {
    takesLogins(prosody, { passwords: 'keys' })
  })
})

describePeer('Legate', await legate.available(), () => {
  takesTheWork(legate, VERSION_2)
})

describe('tlsFiles', () => {
  it('makes one pair for a folder, with a key that only its owner reads', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'legate-tls-files-'))
    try {
      const files = await tlsFiles(directory)
      const text = readFileSync(files.certificate, 'utf8')
      expect(new X509Certificate(text).checkHost(HOST)).toBe(HOST)
      expect(new X509Certificate(text).publicKey.asymmetricKeyDetails?.namedCurve).toBe('prime256v1')
      expect((await stat(files.key)).mode & 0o077).toBe(0)

      expect(await tlsFiles(directory)).toEqual(files)
      expect(readFileSync(files.certificate, 'utf8')).toBe(text)
    } finally {
      await rm(directory, { recursive: true })
    }
  })
})

/** Starts the peer once for the tests of this `describe`, and looks at the end whether anything is left of it. */
function running(peer: BenchPeer, more: Partial<BenchWork> = {}): () => RunningPeer {
  let folder: string
  let own: string
  let server: RunningPeer | undefined
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'legate-bench-peers-'))
    own = join(folder, 'own')
    const temporary = join(folder, 'temporary')
    await mkdir(own)
    await mkdir(temporary)
    vi.stubEnv('TMPDIR', temporary)
    const work = { directory: own, accounts: ACCOUNTS, namespaces: NAMESPACES, launcher: [], ...more }
    server = await peer.start({ ...work, tls: await tlsFiles(folder) })
  })
  afterAll(async () => {
    vi.unstubAllEnvs()
    try {
      const processes = server === undefined ? [] : withDescendants(server.pid)
      await server?.stop()
      expect(readdirSync(join(folder, 'temporary'))).toEqual([])
      expect(readdirSync(own).filter((name) => !name.startsWith('accounts'))).toEqual([])
      // Erlang's helpers end by themselves when the machine is gone.
      while (processes.some(exists)) await sleep(10)
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
  })
  return () => server!
}

function takesTheWork(peer: BenchPeer, version: typeof VERSION_1): void {
  const server = takesLogins(peer, {})

  it('delegates every namespace to the component, and delivers its answers', async () => {
    const component = await connectComponent(server().componentPort, COMPONENT, SECRET)
    const done = manage(component)
    try {
      for (const namespace of NAMESPACES) {
        for (let time = 0; time < version.advertisements; time++) {
          const advertisement = await component.next((stanza) => delegatedIn(stanza).includes(namespace))
          expect(advertisement.getChild('delegation')?.attrs.xmlns).toBe(version.namespace)
          // Others may stand in the same message.
          const rest = delegatedIn(advertisement).filter((name) => name !== namespace)
          if (rest.length > 0) component.received.push(advertisement)
        }
      }
      const client = await login(server().c2sPort, `u0@${HOST}/iq`, { password: PASSWORD })
      for (const namespace of NAMESPACES) {
        const answer = await client.ask(
          `<iq type='get' id='to ${namespace}'><query xmlns='${namespace}'/></iq>`,
        )
        expect(answer.attrs).toMatchObject({ type: 'result', to: client.jid })
        expect(answer.getChild('query', namespace)?.getChildText('answer')).toBe('42')
      }
      await client.close()
    } finally {
      await component.close()
      await done
    }
  })

  it('delivers messages and presence between its accounts', async () => {
    const [from, to] = await Promise.all(
      ['u0', 'u1'].map((user) => login(server().c2sPort, `${user}@${HOST}/talk`, { password: PASSWORD })),
    )
    from!.send(`<message type='chat' id='m' to='${to!.jid}'><body>Ay me!</body></message>`)
    expect((await to!.withId('m')).getChildText('body')).toBe('Ay me!')
    from!.send(`<presence to='${to!.jid}' id='p'/>`)
    expect((await to!.withId('p')).attrs.from).toBe(from!.jid)
    await Promise.all([from!.close(), to!.close()])
  })
}

function takesLogins(peer: BenchPeer, more: Partial<BenchWork>): () => RunningPeer {
  const server = running(peer, more)

  it('takes PLAIN without TLS', async () => {
    for (const user of ['u0', 'u1']) {
      const client = await login(server().c2sPort, `${user}@${HOST}/plain`, { password: PASSWORD })
      const answer = await client.ask(`<iq type='get' id='ping'><ping xmlns='urn:xmpp:ping'/></iq>`)
      expect(answer.attrs.type).toBe('result')
      await client.close()
    }
  })

  it('takes SCRAM-SHA-1 without TLS', async () => {
    await scramLogin(await opened(server().c2sPort, HOST), 'u1')
  })

  it('takes STARTTLS and SCRAM-SHA-1', async () => {
    for (const user of ['u0', 'u1']) {
      const { stream, tls } = await secured(server().c2sPort, {}, HOST)
      expect(tls.getProtocol()).toBe('TLSv1.3')
      await scramLogin(stream, user)
    }
  })

  return server
}

async function scramLogin(stream: TestStream, user: string): Promise<void> {
  const outcome = await scram(stream, 'SCRAM-SHA-1', user, { password: PASSWORD })
  expect(outcome.getName()).toBe('success')
  stream.restart()
  await stream.open(`to='${HOST}' version='1.0'`)
  await stream.named('features')
  expect((await stream.ask(bindIq('scram'))).attrs.type).toBe('result')
  await stream.close()
}

/** Answers disco queries and forwarded requests until the stream ends; advertisements are left to be asked for. */
async function manage(component: TestStream): Promise<void> {
  try {
    for (;;) {
      const iq = await component.next(
        (stanza) =>
          stanza.getName() === 'iq' && stanza.attrs.type !== 'result' && stanza.attrs.type !== 'error',
      )
      const head = `<iq type='result' id='${iq.attrs.id}' from='${iq.attrs.to}' to='${iq.attrs.from}'>`
      const delegation = iq.getChild('delegation')
      if (delegation === undefined) {
        const query = iq.getChild('query')
        component.send(`${head}<query xmlns='${query?.attrs.xmlns}' node='${query?.attrs.node}'/></iq>`)
        continue
      }
      const asked = delegation.getChild('forwarded')?.getChild('iq')
      const from = asked?.attrs.to ?? asked?.attrs.from.split('/')[0]
      component.send(
        `${head}<delegation xmlns='${delegation.attrs.xmlns}'><forwarded xmlns='urn:xmpp:forward:0'>` +
          `<iq xmlns='jabber:client' type='result' id='${asked?.attrs.id}' from='${from}' to='${asked?.attrs.from}'>` +
          `<query xmlns='${asked?.getChild('query')?.attrs.xmlns}'><answer>42</answer></query></iq>` +
          '</forwarded></delegation></iq>',
      )
    }
  } catch {
    // The stream has ended.
  }
}

function delegatedIn(stanza: Element): string[] {
  if (stanza.getName() !== 'message') return []
  const delegated = stanza.getChild('delegation')?.getChildren('delegated') ?? []
  return delegated.map(({ attrs }) => attrs.namespace as string)
}

/** A process and all that it has started. */
function withDescendants(pid: number): number[] {
  const parents = new Map<number, number>()
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue
    try {
      const text = readFileSync(`/proc/${name}/stat`, 'latin1')
      parents.set(Number(name), Number(text.slice(text.lastIndexOf(')') + 4).split(' ')[0]))
    } catch {
      // It has just ended.
    }
  }
  const found = [pid]
  for (const one of found) for (const [child, parent] of parents) if (parent === one) found.push(child)
  return found
}

function exists(pid: number): boolean {
  return existsSync(`/proc/${pid}`)
}
