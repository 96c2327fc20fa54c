/**
 * Messages that several resources of an account have had (RFC 6121 §8.5.2.1.1): when one of them ends without having
 * acknowledged them, another one answers for them, if there is one still, at whichever process.
 */

import { createHash } from 'node:crypto'
import {
  bareOf,
  type Cluster,
  type Host,
  type Member,
  type Module,
  payloadAttributes,
  priorityDuring,
  type StreamSession,
} from '../../server/index.ts'
import type { Unacked } from './queue.ts'

/** Milliseconds in which a process has heard of what a resource of another one has become. */
const HEARD_MS = 2000
/** Milliseconds that another process may take to answer. */
const ASK_MS = 3000

/** For each message that was not acknowledged: whether another resource answers for it. */
export type Answered = readonly boolean[]

/** What a process asks about a message: the best resources had the priority when it came, so long ago. */
type Item = readonly [key: string, priority: number, milliseconds: number]

interface EndingCall {
  readonly username: string
  readonly session: string
  readonly items: readonly Item[]
}

/** A session that has ended and waits to hear who else has its messages. */
interface Ending {
  readonly username: string
  /** Tells it from all sessions of all processes. */
  readonly name: string
  /** Keys of messages that it answers for itself, as far as is known. */
  readonly own: Set<string>
}

export class Others {
  private readonly host: Host
  private readonly cluster: Cluster | undefined
  private readonly ending = new Set<Ending>()
  /** Sessions of other processes that have ended, though they may be known here for a moment still. */
  private readonly ended = new WeakSet<object>()
  private readonly callName: string

  constructor(module: Module) {
    this.host = module.host
    this.cluster = module.server.cluster
    this.callName = `smacks/ending ${this.host.name}`
    if (this.cluster === undefined) return
    module.onUnload(
      this.cluster.calls.on(this.callName, (data, from) => this.asked(data as EndingCall, from)),
    )
  }

  /**
   * Looks who else has had what a session has not acknowledged. To be called at once when it ends, before other
   * processes know of that: so they never rely on it while it relies on them.
   */
  answerFor(session: StreamSession, unacked: readonly Unacked[]): Answered | Promise<Answered> {
    const answered = unacked.map(() => false)
    const open: [index: number, item: Item][] = []
    const now = Date.now()
    for (const [i, one] of unacked.entries()) {
      if (one.receipt !== undefined || !isForAll(session, one.text)) continue
      if (this.hadHere(session, one.when)) answered[i] = true
      else if (this.cluster !== undefined) {
        const priority = priorityDuring(session.ranks, one.when - HEARD_MS, one.when)
        if (isTaking(priority)) open.push([i, [keyOf(one.text), priority, now - one.when]])
      }
    }
    const members = this.holdersOf(session)
    return open.length === 0 || members.size === 0 ? answered : this.ask(session, members, open, answered)
  }

  private hadHere(session: StreamSession, when: number): boolean {
    const priority = priorityDuring(session.ranks, when - 1, when)
    if (!isTaking(priority)) return false
    for (const other of session.account?.sessions.values() ?? []) {
      if (other === session || other.destroyed) continue
      if (priorityDuring(other.ranks, when - 1, when) === priority) return true
    }
    return false
  }

  private holdersOf({ bareJid }: StreamSession): ReadonlySet<string> {
    const members = new Set<string>()
    for (const resource of this.cluster?.directory.resourcesOf(bareJid!) ?? []) {
      if (!this.ended.has(resource)) members.add(resource.member.id)
    }
    return members
  }

  private async ask(
    session: StreamSession,
    members: ReadonlySet<string>,
    open: readonly (readonly [number, Item])[],
    answered: boolean[],
  ): Promise<Answered> {
    const { calls, self } = this.cluster!
    const items = open.map(([, item]) => item)
    const username = session.username!
    const own = new Set(items.map(([key]) => key))
    const ending: Ending = { username, name: `${self.id} ${session.id}`, own }
    const call: EndingCall = { username, session: session.id, items }
    this.ending.add(ending)
    // In order with what tells that the session is gone, and before it.
    const answers = [...(await calls.ask(members, this.callName, call, ASK_MS)).values()] as Answered[]
    this.ending.delete(ending)
    for (const [i, [index, [key]]] of open.entries()) {
      answered[index] = !own.has(key) || answers.some((answer) => answer?.[i] === true)
    }
    return answered
  }

  /** A session of another process ends. @returns for each message whether a session here answers for it */
  private asked({ username, session, items }: EndingCall, from: Member): Answered {
    const caller = this.cluster!.directory.peer(from, `s${session}`)
    if (caller !== undefined) this.ended.add(caller)
    const now = Date.now()
    return items.map(([key, priority, milliseconds]) => {
      const when = now - milliseconds
      for (const other of this.host.accounts.get(username)?.sessions.values() ?? []) {
        if (!other.destroyed && priorityDuring(other.ranks, when - HEARD_MS, when) === priority) return true
      }
      return this.keeps(username, key, `${from.id} ${session}`)
    })
  }

  /** Of two that end at the same moment both processes choose the same. */
  private keeps(username: string, key: string, name: string): boolean {
    for (const ending of this.ending) {
      if (ending.username !== username || !ending.own.has(key)) continue
      if (ending.name < name) return true
      ending.own.delete(key)
    }
    return false
  }
}

function isTaking(priority: number | undefined): priority is number {
  return priority !== undefined && priority >= 0
}

/** Whether a message was not for one resource, but for all that have the highest priority. */
export function isForAll({ fullJid, bareJid }: StreamSession, text: string): boolean {
  if (!text.startsWith('<message')) return false
  const { to, type } = payloadAttributes(text)
  if (to === undefined || to === fullJid || bareOf(to) !== bareJid) return false
  return type === undefined || type === 'chat' || type === 'normal'
}

/** Tells a message from others of the same account. What says that it is late is each session's own. */
function keyOf(text: string): string {
  const { id = '', from = '' } = payloadAttributes(text)
  const content = text.slice(text.indexOf('>')).replace(/<delay [^>]*\/>(?=<\/message>$)/, '')
  return createHash('sha1').update(`${from}\n${id}\n${content}`).digest('base64')
}
