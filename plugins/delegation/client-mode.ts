/** Client mode (XEP-0355 §5): entities ask accounts, and accounts delegate namespaces of their own (U1 to U6). */

import {
  bareOf,
  type EventPayload,
  errorReply,
  localOf,
  NS_DELEGATION,
  type Origin,
  type Peer,
  reply,
  type Stanza,
  StanzaError,
  type StanzaEvent,
  type StreamSession,
} from '../../server/index.ts'
import { configureCommand } from './client-configure.ts'
import { readConsent } from './client-consent.ts'
import { ClientDelegations, type ClientModule } from './client-delegations.ts'
import { EntityLimits } from './client-limits.ts'
import { Questions } from './client-questions.ts'
import { askingOf, entityOf, readRequest, unavailable } from './client-request.ts'
import type { Registry } from './manager.ts'
import type { Delegation } from './table.ts'

/** Seconds between two looks whether accounts have been deleted. */
const VERIFY_INTERVAL = 60
const REQUEST = `iq-get/host/${NS_DELEGATION}:query`

/** Client mode on one host. */
export class ClientMode {
  private readonly module: ClientModule
  private readonly delegations: ClientDelegations
  private readonly questions: Questions
  private readonly limits: EntityLimits
  private readonly undo: (() => void)[] = []

  /**
   * @param registry - who can manage
   * @param isConfigured - whether the configuration delegates a namespace: that wins (U6)
   */
  constructor(module: ClientModule, registry: Registry, isConfigured: (namespace: string) => boolean) {
    this.module = module
    this.delegations = new ClientDelegations(module, registry, isConfigured)
    this.questions = new Questions(module, this.delegations)
    this.limits = new EntityLimits(module.host)
  }

  /** Reads what was kept, and begins to take requests. */
  async start(): Promise<void> {
    const { module, delegations } = this
    await delegations.start()
    this.limits.start()
    this.questions.start()
    this.on(REQUEST, (event) => this.request(event))
    this.on('message/host', (event) => this.answer(event))
    this.on('resource-bind', ({ session }) => {
      delegations.verifyAccount(session.username!).catch((error) => this.failed(error))
    })
    this.on('resource-unbind', ({ session }) => this.ended(session))
    this.undo.push(...this.followOthers())
    const verifying = module.every(VERIFY_INTERVAL, () => delegations.verifyAll())
    const command = module.host.items.add('adhoc', configureCommand(delegations), module.name)
    this.undo.push(command, () => verifying.cancel())
    this.loadCommands()
  }

  /** Client mode is switched off, or the plugin unloaded. */
  stop(): void {
    for (const undo of this.undo.splice(0)) undo()
    this.questions.stop()
    this.limits.stop()
    this.delegations.stop()
  }

  /** The configuration has changed. */
  reloaded(): Promise<void> {
    this.loadCommands()
    return this.delegations.reloaded().catch((error) => this.failed(error))
  }

  /** A manager has connected. @param jid - which it is known by */
  connected(session: Peer, jid: string): void {
    this.delegations.connected(session, jid).catch((error) => this.failed(error))
  }

  /** The delegation that a request falls under (U3). */
  delegationFor(stanza: Stanza): Delegation | undefined {
    return this.delegations.find(stanza)
  }

  /** U1: an entity asks. What it did wrong is thrown, and told by whoever fired the event. */
  private request(event: StanzaEvent): true | Promise<true> {
    const { origin, stanza } = event
    const { server } = this.module
    const entity = entityOf(origin, stanza, server)
    const asking = askingOf(entity, server)
    const done = after(this.limits.takeRequest(asking), (may) => {
      if (!may) throw new StanzaError('resource-constraint', 'Too many requests; wait a minute')
      return this.requestBy(entity, asking, event)
    })
    if (!(done instanceof Promise) || origin.fullJid !== undefined) return done
    // A component's stream is not held, since others stand behind it as well.
    done.catch((error) => server.handlerFailed(error, REQUEST, this.module.name, event, this.module.host))
    return true
  }

  private requestBy(entity: string, asking: string, { origin, stanza }: StanzaEvent): true | Promise<true> {
    const { account, namespaces } = readRequest(stanza.payload)
    if (bareOf(entity) === account.full) {
      throw new StanzaError('not-allowed', 'An account does not delegate to itself')
    }
    if (this.delegations.connectionsOf(entity).length === 0) throw unreachable(origin)
    return after(this.limits.takeRequestTo(asking, account.full), (may) => {
      if (!may) {
        throw new StanzaError('resource-constraint', 'Too many requests to this account; wait ten minutes')
      }
      if (account.domain !== this.module.host.name) throw unavailable()
      return after(this.questions.ask(entity, account.local, namespaces), () => {
        origin.send(reply(stanza))
        return true as const
      })
    })
  }

  /**
   * U2: a message to the host, with the answer of an account perhaps. Only a session of the account speaks for
   * it: a `from` could be a component's invention.
   */
  private answer({ origin, stanza }: StanzaEvent): true | Promise<true> | undefined {
    if (stanza.attrs.type === 'error') return undefined
    const given = readConsent(stanza)
    if (given === undefined) return undefined
    const session = this.module.server.fullJids.get(origin.fullJid ?? '')
    const own =
      session === origin && session.host === this.module.host && stanza.attrs.from === session.fullJid
    const consent = own ? this.questions.find(session.username!, given.challenge) : undefined
    const counts = consent !== undefined && this.questions.answered(consent, given)
    return after(counts, (does) => {
      if (!does) {
        const text = 'This request is not known here: it was answered already, or is too old'
        origin.send(errorReply(stanza, 'item-not-found', text))
      }
      return true as const
    })
  }

  /** A session ends; with the last one of an account, what it was asked and, unless kept, what it has granted. */
  private ended({ account }: StreamSession): void {
    if (account === undefined || account.sessions.size > 1) return
    const { host, server } = this.module
    const elsewhere = server.cluster?.directory.resourcesOf(`${account.username}@${host.name}`) ?? []
    if (elsewhere.length === 0) this.accountGone(account.username)
  }

  /** Sessions at other processes of a cluster end, and the processes themselves. */
  private followOthers(): (() => void)[] {
    const { host, server } = this.module
    if (server.cluster === undefined) return []
    const peerLeft = ({ peer }: EventPayload<'peer-left'>) => {
      if (peer.type !== 'c2s' || peer.host !== host) return
      const username = localOf(peer.fullJid!)!
      if (!host.isOnline(username)) this.accountGone(username)
    }
    return [
      server.events.add('peer-left', peerLeft, 0, this.module.name),
      // It may have been the one that ends for all what has to end.
      server.cluster.calls.onLeft(() => this.delegations.endAbsent()),
    ]
  }

  private accountGone(username: string): void {
    this.questions.accountGone(username)
    this.delegations.accountLeft(username)
  }

  /** U5: an account that grants something must be able to see and revoke it (XEP-0355 §8). */
  private loadCommands(): void {
    const { server, host } = this.module
    // It is not waited for: a plugin's own `load` must not.
    server.modules.load(host, 'adhoc').catch((error) => this.failed(error))
  }

  private on<N extends string>(event: N, handler: (payload: EventPayload<N>) => unknown): void {
    const { host, name } = this.module
    this.undo.push(host.events.add(event, handler as (payload: never) => unknown, 0, name))
  }

  private failed(error: unknown): void {
    this.module.log.error('client mode failed', { error })
  }
}

/** Goes on at once, or when it is known. */
function after<T, U>(value: T | Promise<T>, next: (value: T) => U | Promise<U>): U | Promise<U> {
  return value instanceof Promise ? value.then(next) : next(value)
}

/** Who asks and could not manage. */
function unreachable(origin: Origin): StanzaError {
  return origin.type === 'component'
    ? new StanzaError(
        'not-allowed',
        'The section of this component must enable the plugin: modules_enabled = { "delegation" }',
      )
    : new StanzaError('not-allowed', 'Send presence first, on a host that enables the plugin delegation')
}
