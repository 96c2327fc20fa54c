/** Who is online at other processes of a cluster, for entities that connect to this one; and the other way round. */

import { randomBytes } from 'node:crypto'
import {
  type Cluster,
  type Host,
  localOf,
  type Module,
  type Stanza,
  type StreamSession,
} from '../../server/index.ts'
import { type Packed, packed, unpacked } from './copies.ts'
import type { Grants } from './entities.ts'
import { drained } from './pace.ts'
import type { Replay } from './replay.ts'
import { Numbered } from './sent.ts'

/** Milliseconds that another process has for a part; then it is asked again, as long as it lives. */
const ASK_MS = 10_000
/** Sessions that are looked at, and characters of presence, for one part. */
const PART_SESSIONS = 500
const PART_LENGTH = 64 * 1024
/** Contacts that are asked for at once. */
const MOST_PAIRS = 100

/** What is asked of another process: who is online there. */
interface PartRequest {
  readonly entity: string
  readonly to: string
  /** Tells this replay from others of the same process. */
  readonly replay: string
  /** Nobody wants the rest. */
  readonly end?: true
}

interface PartAnswer {
  /** Whether the entity may have it. */
  readonly granted: boolean
  readonly more: boolean
}

/** What another process answers ahead of that, in order with what it tells otherwise. */
interface Part {
  readonly replay: string
  readonly presences: readonly {
    readonly stanza: Packed
    readonly content: string
    readonly number: number
  }[]
}

/** Account and contact: whether the one sees the other is for the contact's roster to say. */
type Pair = readonly [account: string, contact: string]

interface ContactsRequest {
  readonly entity: string
  readonly replay: string
  readonly pairs: readonly Pair[]
}

/** What the one who tells the entities does. */
export interface ReplayTeller {
  put(replay: Replay, stanza: Stanza, state: Numbered): void
  numbered(stanza: Stanza): Numbered
  /** The presence that an account sees of a contact's resources at this process. */
  presencesOf(host: Host, jid: string, account: string): Iterable<Stanza>
  /** Sends an entity the contacts' presence anew. */
  contacts(replay: Replay): Promise<void>
}

/** A replay to an entity that is connected to this process. */
interface Open {
  readonly id: string
  readonly replay: Replay
  /** Processes that have not granted it, by their configuration. */
  readonly refusedBy: Set<string>
  /** Contacts to be asked for, by process. */
  readonly wanted: Map<string, Pair[]>
  wantedCount: number
}

export class ReplayOthers {
  private readonly host: Host
  private readonly module: Module
  private readonly cluster: Cluster
  private readonly grants: Grants
  private readonly teller: ReplayTeller
  private readonly names: { part: string; next: string; contacts: string; granted: string }
  private readonly open = new Map<string, Open>()
  private readonly bySession = new Map<StreamSession, Open>()
  /** Where replays to other processes' entities have got to. */
  private readonly served = new Map<string, { member: string; sessions: Iterator<StreamSession> }>()

  constructor(module: Module, grants: Grants, cluster: Cluster, teller: ReplayTeller) {
    const { name } = module.host
    this.host = module.host
    this.module = module
    this.cluster = cluster
    this.grants = grants
    this.teller = teller
    this.names = {
      part: `privilege/part ${name}`,
      next: `privilege/next ${name}`,
      contacts: `privilege/contacts ${name}`,
      granted: `privilege/granted ${name}`,
    }
    const { calls } = cluster
    const ends = [
      calls.on(this.names.part, (data, from) => this.takePart(data as Part, from.id)),
      calls.on(this.names.next, (data, from) => this.givePart(data as PartRequest, from.id)),
      calls.on(this.names.contacts, (data, from) => this.giveContacts(data as ContactsRequest, from.id)),
      calls.on(this.names.granted, (entity, from) => this.grantedBy(entity as string, from.id)),
    ]
    module.onUnload(() => {
      for (const end of ends) end()
    })
  }

  /** Fetches the presence of all accounts that are online at other processes. */
  async fetch(replay: Replay): Promise<void> {
    const open: Open = {
      id: randomBytes(9).toString('base64url'),
      replay,
      refusedBy: new Set(),
      wanted: new Map(),
      wantedCount: 0,
    }
    this.open.set(open.id, open)
    this.bySession.set(replay.session, open)
    const members = [...this.cluster.members.keys()].filter((id) => id !== this.cluster.self.id)
    await Promise.all(members.map((member) => this.fetchFrom(member, open)))
  }

  /** A connection is gone, or is told anew. */
  gone(session: StreamSession): void {
    const open = this.bySession.get(session)
    if (open === undefined) return
    this.bySession.delete(session)
    this.open.delete(open.id)
  }

  /** Tells the others that they may ask for the presence of accounts here. */
  granted(entity: string): void {
    this.cluster.calls.tellAll(this.names.granted, entity)
  }

  /** Notes a contact whose presence is to be fetched. */
  want({ session }: Replay, host: Host, contact: string, account: string): void {
    const open = this.bySession.get(session)
    if (open === undefined) return
    for (const member of this.cluster.holdersOf(host, localOf(contact) ?? '')) {
      const pairs = open.wanted.get(member)
      if (pairs === undefined) open.wanted.set(member, [[account, contact]])
      else pairs.push([account, contact])
      open.wantedCount++
    }
  }

  /** Fetches the presence of contacts that have been noted. @param all - also if they are few */
  async fetchContacts({ session, privileges: { jid: entity } }: Replay, all: boolean): Promise<void> {
    const open = this.bySession.get(session)
    if (open === undefined || open.wantedCount === 0 || (!all && open.wantedCount < MOST_PAIRS)) return
    const wanted = [...open.wanted]
    open.wanted.clear()
    open.wantedCount = 0
    await Promise.all(
      wanted.map(async ([member, pairs]) => {
        const request: ContactsRequest = { entity, replay: open.id, pairs }
        const answer = await this.ask(member, this.names.contacts, request)
        if (answer === false) open.refusedBy.add(member)
      }),
    )
  }

  private async fetchFrom(member: string, open: Open): Promise<void> {
    const { session, to, privileges } = open.replay
    const request: PartRequest = { entity: privileges.jid, to, replay: open.id }
    while (this.open.has(open.id) && !session.destroyed) {
      const answer = (await this.ask(member, this.names.next, request)) as PartAnswer | null | undefined
      if (answer === undefined) return
      if (answer?.granted !== true) {
        open.refusedBy.add(member)
        return
      }
      if (!answer.more) return
      await drained(session)
    }
    this.cluster.calls.tell([member], this.names.next, { ...request, end: true } satisfies PartRequest)
  }

  /** @returns undefined if the process is dead */
  private async ask(member: string, name: string, data: unknown): Promise<unknown> {
    while (this.cluster.members.has(member)) {
      const answers = await this.cluster.calls.ask([member], name, data, ASK_MS)
      if (answers.has(member)) return answers.get(member) ?? null
    }
    return undefined
  }

  // What other processes ask, and tell.

  private takePart({ replay: id, presences }: Part, source: string): void {
    const replay = this.open.get(id)?.replay
    if (replay === undefined || replay.session.destroyed) return
    for (const { stanza, content, number } of presences) {
      this.teller.put(replay, unpacked(stanza), new Numbered(content, source, number))
    }
  }

  private givePart({ entity, to, replay, end }: PartRequest, member: string): PartAnswer {
    const key = `${member} ${replay}`
    if (end === true) {
      this.served.delete(key)
      return { granted: true, more: false }
    }
    if ((this.grants.get(entity)?.presence ?? 'none') === 'none') return { granted: false, more: false }
    let place = this.served.get(key)
    if (place === undefined) {
      for (const [other, { member }] of this.served) {
        if (!this.cluster.members.has(member)) this.served.delete(other)
      }
      place = { member, sessions: this.host.allSessions()[Symbol.iterator]() }
      this.served.set(key, place)
    }
    const presences: Stanza[] = []
    let length = 0
    for (let looked = 0; looked < PART_SESSIONS && length < PART_LENGTH; looked++) {
      const { done, value: session } = place.sessions.next()
      if (done === true) {
        this.served.delete(key)
        break
      }
      if (session.presence === undefined || session.fullJid === to) continue
      presences.push(session.presence)
      length += session.presence.inner.length
    }
    this.tellPart(member, replay, presences)
    return { granted: true, more: this.served.has(key) }
  }

  private giveContacts({ entity, replay, pairs }: ContactsRequest, member: string): boolean {
    if (this.grants.get(entity)?.presence !== 'roster') return false
    const presences = new Set<Stanza>()
    for (const [account, contact] of pairs) {
      const host = this.module.server.hosts.get(contact.slice(contact.indexOf('@') + 1))
      if (host === undefined) continue
      for (const presence of this.teller.presencesOf(host, contact, account)) presences.add(presence)
    }
    this.tellPart(member, replay, presences)
    return true
  }

  private tellPart(member: string, replay: string, presences: Iterable<Stanza>): void {
    const part = { replay, presences: [] as Part['presences'][number][] }
    for (const presence of presences) {
      const { content, number } = this.teller.numbered(presence)
      part.presences.push({ stanza: packed(presence), content, number })
    }
    if (part.presences.length > 0) this.cluster.calls.tell([member], this.names.part, part satisfies Part)
  }

  /** Another process has been told of the entity's privileges later than this one. */
  private grantedBy(entity: string, member: string): void {
    for (const open of this.open.values()) {
      const { privileges } = open.replay
      if (privileges.jid !== entity || !open.refusedBy.delete(member)) continue
      this.fetchLate(member, open).catch((error) =>
        this.module.log.error('presence could not be sent to an entity', { to: open.replay.to, error }),
      )
    }
  }

  private async fetchLate(member: string, open: Open): Promise<void> {
    await this.fetchFrom(member, open)
    if (open.replay.privileges.presence === 'roster') await this.teller.contacts(open.replay)
  }
}
