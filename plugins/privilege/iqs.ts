/** IQs on behalf of accounts (XEP-0356 §6): checked, sent as the account's, and their answers brought back. */

import { randomBytes } from 'node:crypto'
import {
  bareOf,
  detached,
  errorReply,
  type Host,
  type Logger,
  NS_CLIENT,
  NS_FORWARD,
  type Origin,
  type Peer,
  prepareJid,
  Stanza,
  StanzaError,
  type StanzaEvent,
  type StreamSession,
  type Timeout,
  writeElement,
} from '../../server/index.ts'
import { Addressees } from './addressees.ts'
import { encapsulated } from './encapsulated.ts'
import type { Grants } from './entities.ts'
import { AccountOrigin, ifAccount } from './on-behalf.ts'
import { allows, NS_PRIVILEGE } from './table.ts'

interface PendingIq {
  /** Of the IQ on its way: new, so that no entity gets or spoils the answers of another. */
  readonly id: string
  /** That the entity gave the encapsulated IQ. */
  readonly innerId: string
  /** Who it was sent to, prepared; undefined for the account itself. */
  readonly to: string | undefined
  readonly account: string
  readonly entity: Origin
  /** Of the top-level IQ. */
  readonly asked: { readonly id: string; readonly from: string; readonly to: string }
  readonly timeout: Timeout
}

/** IQs of one connection whose answers may be awaited; more are refused, so that nobody fills the memory. */
const MOST_PENDING = 1000

function forbid(text: string): never {
  throw new StanzaError('forbidden', text)
}

/** The IQs that are sent on behalf of the accounts of one host. */
export class PrivilegedIqs {
  private readonly host: Host
  private readonly log: Logger
  private readonly grants: Grants
  private readonly timeout: () => number
  private readonly pending = new Map<string, PendingIq>()
  private readonly pendingOf = new Map<Origin, Set<PendingIq>>()
  /** Who answers from another process. */
  private readonly elsewhere: Addressees<PendingIq>

  /** @param timeout - seconds that an answer may take; asked at each IQ */
  constructor(grants: Grants, log: Logger, timeout: () => number) {
    this.host = grants.host
    this.log = log
    this.grants = grants
    this.timeout = timeout
    this.elsewhere = new Addressees(grants.host.server)
  }

  /** How many wait for their answers. */
  get size(): number {
    return this.pending.size
  }

  /** A `<privileged_iq/>`. @throws StanzaError `forbidden` in each of the cases that §6.3 lists */
  request({ origin, stanza }: StanzaEvent): true | Promise<true> {
    const { type, to } = stanza.attrs
    const privileges = this.grants.of(origin, stanza)
    if (privileges === undefined || privileges.iq.size === 0) {
      forbid('No IQs may be sent on behalf of others')
    }
    const account = to === undefined ? undefined : prepareJid(to)
    const username = account?.local
    if (account === undefined || username === undefined || account.resource !== undefined) {
      forbid('The IQ must be addressed to the bare JID of the account')
    }
    const iq = encapsulated(stanza.payload!, 'iq')
    if (iq.attrs.type !== type) forbid('The encapsulated IQ must be of the same type')
    if (iq.attrs.from !== undefined && prepareJid(iq.attrs.from)?.full !== account.full) {
      forbid(`The 'from' of the encapsulated IQ must be ${account.full}`)
    }
    if (!iq.attrs.id) throw new StanzaError('bad-request', "The encapsulated IQ must have an 'id'")
    if (iq.childCount !== 1) throw new StanzaError('bad-request', 'The encapsulated IQ must have one payload')
    if (!allows(privileges.iq.get(iq.payloadNs), type)) {
      forbid(`IQs of this type in the namespace ${iq.payloadNs} may not be sent on behalf of others`)
    }
    return ifAccount(
      this.host,
      username,
      () => this.forward(iq, username, origin, stanza),
      () => forbid(`There is no account ${account.full}`),
    )
  }

  /** The result or error that somebody sends to an account's bare JID. */
  answer({ stanza }: StanzaEvent): true | undefined {
    const { type, id, from, to } = stanza.attrs
    if (this.pending.size === 0 || (type !== 'result' && type !== 'error')) return undefined
    const request = this.pending.get(id ?? '')
    // One to the sender's own account may come without `to`.
    if (request === undefined || request.to !== from || request.account !== (to ?? bareOf(from ?? '')))
      return undefined
    this.finish(request, stanza)
    return true
  }

  /** A connection is gone: nobody is left who wants the answers. */
  gone(entity: Origin): void {
    for (const request of [...(this.pendingOf.get(entity) ?? [])]) this.remove(request)
  }

  /** A session or connection of another process is gone: what it was asked it does not answer any more. */
  left(peer: Peer): void {
    for (const request of this.elsewhere.leftBy(peer)) this.fail(request)
  }

  /** The host stops granting privileges: nobody is left waiting. */
  abandonAll(): void {
    for (const request of [...this.pending.values()]) this.fail(request)
  }

  private forward(iq: Stanza, username: string, entity: Origin, { attrs }: Stanza): void {
    // It may have gone while the storage was asked.
    if ((entity as StreamSession).destroyed) return
    const mine = this.pendingOf.get(entity) ?? new Set()
    if (mine.size >= MOST_PENDING) {
      throw new StanzaError('resource-constraint', 'Too many IQs wait for their answers')
    }
    // The answer may be given at another process.
    const id = (this.host.server.cluster?.tag ?? '') + randomBytes(12).toString('base64url')
    const account = new AccountOrigin(this.host, username, (answer) => {
      const { type } = answer.attrs
      if (answer.name !== 'iq' || answer.attrs.id !== id || (type !== 'result' && type !== 'error')) return
      this.finish(request, answer)
    })
    const request: PendingIq = {
      id,
      innerId: detached(iq.attrs.id!),
      to: prepareJid(iq.attrs.to ?? '')?.full,
      account: account.bareJid,
      entity,
      asked: { id: detached(attrs.id!), from: attrs.from!, to: account.bareJid },
      timeout: this.host.server.timers.after(this.timeout(), () => {
        this.log.warn('an IQ on behalf of an account was not answered in time', {
          entity: attrs.from,
          account: account.bareJid,
        })
        this.fail(request)
      }),
    }
    this.pending.set(id, request)
    this.pendingOf.set(entity, mine.add(request))
    if (request.to !== undefined) this.elsewhere.note(request, request.to, account.bareJid)
    iq.attrs.id = id
    this.host.server.router.process(account, iq)
  }

  private finish(request: PendingIq, answer: Stanza): void {
    if (!this.remove(request)) return
    const { id, from, to } = request.asked
    const attrs: Record<string, string | undefined> = {
      xmlns: NS_CLIENT,
      ...answer.attrs,
      id: request.innerId,
    }
    const iq = writeElement('iq', attrs, answer.inner)
    const forwarded = writeElement('forwarded', { xmlns: NS_FORWARD }, iq)
    const privilege = writeElement('privilege', { xmlns: NS_PRIVILEGE }, forwarded)
    const reply = { type: 'result', id, from: to, to: from }
    request.entity.send(Stanza.fromText('iq', reply, privilege, 1, 'privilege', NS_PRIVILEGE))
  }

  private fail(request: PendingIq): void {
    if (!this.remove(request)) return
    request.entity.send(errorReply(new Stanza('iq', { ...request.asked }), 'remote-server-timeout'))
  }

  private remove(request: PendingIq): boolean {
    if (!this.pending.delete(request.id)) return false
    request.timeout.cancel()
    this.elsewhere.forget(request)
    const mine = this.pendingOf.get(request.entity)
    mine?.delete(request)
    if (mine?.size === 0) this.pendingOf.delete(request.entity)
    return true
  }
}
