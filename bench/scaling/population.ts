// Who is connected: accounts with rosters, their sessions at the processes, and what these are told.
import { type AccountRecord, Users } from '../../server/auth/users.ts'
import type { RedisSettings } from '../../server/redis/index.ts'
import { openStorage } from '../../server/storage/index.ts'
import { type Client, logIn } from '../load/client.ts'
import { IGNORE } from '../load/connection.ts'
import { OTHER } from '../load/skeleton.ts'
import { HOST, PASSWORD } from '../load/stanzas.ts'
import { PREFIX } from './processes.ts'

/** Of every session. */
export const RESOURCE = 'bench'
const NUMBER_WIDTH = 5
const PARALLEL_LOGINS = 24
const WRITES_AT_ONCE = 500

/** Localpart of an account; all have one length. */
export function userOf(index: number): string {
  return `u${String(index).padStart(NUMBER_WIDTH, '0')}`
}

/** The accounts are a circle, in which each knows its nearest. */
export function contactsOf(index: number, accounts: number, contacts: number): number[] {
  const found: number[] = []
  for (let step = 1; step <= contacts / 2; step++) {
    found.push((index + step) % accounts, (index - step + accounts) % accounts)
  }
  return found
}

/** Writes accounts as Legate does it. @returns the characters of one's record */
export async function writeAccounts(url: string, count: number): Promise<number> {
  return withStorage(url, async (storage) => {
    const store = storage.openKeyval<AccountRecord>(HOST, 'accounts')
    await new Users(store).create(userOf(0), PASSWORD)
    // To derive keys for each would take minutes.
    const record = (await store.get(userOf(0)))!
    await inParts(count, (index) => store.set(userOf(index), record))
    return JSON.stringify(record).length
  })
}

/** Writes their rosters. */
export function writeRosters(url: string, count: number, contacts: number): Promise<void> {
  return withStorage(url, async (storage) => {
    const store = storage.openKeyval(HOST, 'roster')
    await inParts(count, (index) => {
      const items = contactsOf(index, count, contacts).map((contact) => {
        return { jid: `${userOf(contact)}@${HOST}`, subscription: 'both' }
      })
      return store.set(userOf(index), { items, requests: [] })
    })
  })
}

async function withStorage<T>(
  url: string,
  work: (storage: ReturnType<typeof openStorage>) => Promise<T>,
): Promise<T> {
  const { hostname, port } = new URL(url)
  const redis: RedisSettings = {
    place: { kind: 'single', host: hostname, port: Number(port) },
    db: 0,
    prefix: PREFIX,
    waitReplicas: 0,
    directory: '.',
  }
  const storage = openStorage('redis', { path: '.', redis })
  try {
    await (storage as { whenReady?(ms: number): Promise<void> }).whenReady?.(5000)
    return await work(storage)
  } finally {
    await storage.close()
  }
}

async function inParts(count: number, write: (index: number) => Promise<void>): Promise<void> {
  for (let from = 0; from < count; from += WRITES_AT_ONCE) {
    const length = Math.min(WRITES_AT_ONCE, count - from)
    await Promise.all(Array.from({ length }, (_, index) => write(from + index)))
  }
}

/** The sessions of a run: one for each account. */
export class Population {
  /** By account. */
  readonly clients: (Client | undefined)[] = []
  /** By account: the process that it is connected to. */
  readonly places: number[] = []
  private readonly ports: readonly number[]

  /** @param ports - of the processes */
  constructor(ports: readonly number[]) {
    this.ports = ports
  }

  /** Connects accounts to processes, several at a time. */
  async logIn(accounts: readonly number[], place: (account: number) => number): Promise<void> {
    let next = 0
    const worker = async () => {
      while (next < accounts.length) {
        const account = accounts[next++]!
        await this.enter(account, place(account))
      }
    }
    await Promise.all(Array.from({ length: PARALLEL_LOGINS }, worker))
  }

  /** Connects one. */
  async enter(account: number, place: number): Promise<Client> {
    const who = { host: HOST, user: userOf(account), password: PASSWORD, resource: RESOURCE }
    const client = await logIn(this.ports[place]!, who, { tls: false, mechanism: 'SCRAM-SHA-1' })
    this.places[account] = place
    this.clients[account] = client
    return client
  }

  /** Ends one in order. */
  async leave(account: number): Promise<void> {
    const client = this.clients[account]
    this.clients[account] = undefined
    await client?.connection.end()
  }

  /** Accounts that are connected to a process. */
  at(place: number): number[] {
    return this.clients.flatMap((client, account) =>
      client !== undefined && this.places[account] === place ? [account] : [],
    )
  }

  /** Tells of each presence that comes to one: who gets it, and its text. */
  listen(told: (account: number, stanza: string) => void): void {
    for (const [account, client] of this.clients.entries()) {
      client?.connection.listen({
        quick: () => OTHER,
        slow(bytes, at, end) {
          // <presence
          if (bytes[at + 1] === 0x70) told(account, bytes.toString('latin1', at, end))
        },
      })
    }
  }

  /** Nobody looks at what comes. */
  ignore(): void {
    for (const client of this.clients) client?.connection.listen(IGNORE)
  }

  close(): void {
    for (const client of this.clients) client?.connection.close()
  }
}
