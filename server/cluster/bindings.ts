/** Binding resources where several processes do (RFC 6120 §7): one of them has each, whoever asks first. */

import {
  type ConflictPolicy,
  endHibernating,
  insertBound,
  nextFree,
  randomResource,
  refusalOf,
} from '../binding.ts'
import { prepareResource } from '../jid.ts'
import { StanzaError } from '../stanza/errors.ts'
import { StreamError } from '../stream/errors.ts'
import type { StreamSession } from '../stream/session.ts'
import type { Cluster } from './cluster.ts'
import type { AccountRegistry, Owner } from './registry.ts'

/** Who binds and unbinds the same resource again and again may come in between so often. */
const MOST_ATTEMPTS = 20
/** Milliseconds that another process has to end a session. */
const KICK_MS = 5000
/** Milliseconds for which a bind waits until this process knows the others again. */
const KNOWN_MS = 5000
const KICK = 'cluster/kick'
const MAKE_ROOM = 'cluster/make-room'

export class Bindings {
  private readonly cluster: Cluster
  private readonly registry: AccountRegistry
  private readonly releasing = new Set<Promise<void>>()

  constructor(cluster: Cluster, registry: AccountRegistry) {
    this.cluster = cluster
    this.registry = registry
    cluster.calls.on(KICK, (data) => this.kicked(data))
    cluster.calls.on(MAKE_ROOM, (data) => {
      const { host, username } = data as { host: string; username: string }
      return this.madeRoom(host, username)
    })
  }

  /**
   * Binds a resource to an authenticated session, for all processes.
   *
   * @returns the full JID, when the others can find it
   * @throws StanzaError (as a rejection) as `bindResource`; `resource-constraint` of type `wait` if the others can
   *   not be asked
   */
  async bind(
    session: StreamSession,
    wanted: string | undefined,
    policy: ConflictPolicy,
    maxResources: number,
  ): Promise<string> {
    const refusal = refusalOf(session)
    if (refusal !== undefined) throw refusal
    // Whoever is not known counts as dead, and what it has bound as free.
    if (!(await this.cluster.othersKnown(KNOWN_MS))) throw notNow()
    const first = wanted === undefined || wanted === '' ? randomResource() : prepareResource(wanted)
    if (first === undefined) throw new StanzaError('bad-request', 'The resource is malformed')
    let sequence: number
    let resource: string
    try {
      ;[resource, sequence] = await Promise.all([
        this.claim(session, first, policy, maxResources),
        this.registry.nextSequence(),
      ])
    } catch (error) {
      if (error instanceof StanzaError) throw error
      throw notNow()
    }
    if (session.destroyed) {
      this.release(session, resource)
      throw new StanzaError('resource-constraint', 'The session has ended')
    }
    const jid = insertBound(session, resource)
    await this.cluster.bound(session, sequence)
    return jid
  }

  /** A bound session is gone. */
  unbound(session: StreamSession): void {
    this.cluster.gone(session)
    this.release(session, session.resource!)
  }

  private release(session: StreamSession, resource: string): void {
    const owner = this.ownerFor(session)
    const releasing = this.registry
      .release(session.host!.name, session.username!, resource, owner)
      .catch((error: unknown) => {
        // Whoever wants the resource asks this process, and hears that nobody has it.
        session.log.debug('a resource could not be given back', { error })
      })
      .finally(() => this.releasing.delete(releasing))
    this.releasing.add(releasing)
  }

  private ownerFor(session: StreamSession): Owner {
    return { member: this.cluster.self.id, session: session.id }
  }

  private async claim(
    session: StreamSession,
    first: string,
    policy: ConflictPolicy,
    maxResources: number,
  ): Promise<string> {
    const host = session.host!
    const username = session.username!
    const ended = new Set<string>()
    const isThere = ({ member, session: id }: Owner) =>
      this.cluster.members.has(member) && !ended.has(`${member} ${id}`)
    let known: ReadonlyMap<string, Owner> = this.believed(session)
    let resource = first
    for (let attempt = 0; attempt < MOST_ATTEMPTS; attempt++) {
      const rival = known.get(resource)
      if (rival !== undefined && isThere(rival)) {
        if (policy === 'kick_new') throw new StanzaError('conflict', 'The resource is in use', 'modify')
        if (policy === 'random') resource = randomResource()
        else if (policy === 'increment') resource = nextFree(resource, known)
        else {
          await this.kick(rival)
          ended.add(`${rival.member} ${rival.session}`)
          known = await this.registry.ownersOf(host.name, username)
        }
        continue
      }
      if ([...known.values()].filter(isThere).length >= maxResources) {
        if (await this.makeRoom(host.name, username)) {
          known = await this.registry.ownersOf(host.name, username)
          continue
        }
        throw new StanzaError('resource-constraint', `This account has ${maxResources} sessions already`)
      }
      const others = await this.registry.claim(host.name, username, resource, known, this.ownerFor(session))
      if (others === undefined) return resource
      known = others
    }
    throw new StanzaError('conflict', 'The resource is fought for', 'modify')
  }

  /** Who holds resources of the account, as far as this process knows. */
  private believed({ host, username }: StreamSession): Map<string, Owner> {
    const owners = new Map<string, Owner>()
    for (const session of host!.accounts.get(username!)?.sessions.values() ?? []) {
      owners.set(session.resource!, this.ownerFor(session))
    }
    for (const { resource, member, key } of this.cluster.directory.resourcesOf(`${username}@${host!.name}`)) {
      owners.set(resource, { member: member.id, session: key.id })
    }
    return owners
  }

  private async kick({ member, session }: Owner): Promise<void> {
    if (member === this.cluster.self.id) await this.kicked(session)
    else await this.cluster.calls.ask([member], KICK, session, KICK_MS)
  }

  /** Ends a session of the account whose connection is lost, here or elsewhere. @returns whether there was one */
  private async makeRoom(host: string, username: string): Promise<boolean> {
    if (await this.madeRoom(host, username)) return true
    for (const member of this.cluster.members.keys()) {
      if (member === this.cluster.self.id) continue
      const answers = await this.cluster.calls.ask([member], MAKE_ROOM, { host, username }, KICK_MS)
      if (answers.get(member) === true) return true
    }
    return false
  }

  private async madeRoom(host: string, username: string): Promise<boolean> {
    const account = this.cluster.accountOf(host, username)
    if (account === undefined || !endHibernating(account)) return false
    // Until the registry has its resource no more.
    await Promise.allSettled(this.releasing)
    return true
  }

  /**
   * Ends a session for another one that has its resource now. Its unavailable presence is under way then, and what it
   * has not received is kept.
   */
  private async kicked(id: unknown): Promise<true> {
    const session = this.cluster.sessionOf(id as string)
    session?.close(new StreamError('conflict', 'Replaced by a new connection'))
    await session?.afterwork
    return true
  }
}

function notNow(): StanzaError {
  return new StanzaError('resource-constraint', 'Sessions can not be registered now; try again later', 'wait')
}
