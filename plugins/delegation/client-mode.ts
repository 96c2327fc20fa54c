/** Client mode (XEP-0355 §5): entities ask accounts, and accounts delegate namespaces of their own (U1 to U6). */

import {
  bareOf,
  domainOf,
  type EventPayload,
  errorReply,
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
import { askable, type Consent, Consents, consentMessage, MOST_OPEN, readConsent } from './client-consent.ts'
import { ClientDelegations, type ClientModule } from './client-delegations.ts'
import { RateLimit } from './client-limits.ts'
import { entityOf, readRequest } from './client-request.ts'
import type { Registry } from './manager.ts'
import type { Delegation } from './table.ts'

/** Seconds between two looks whether accounts have been deleted. */
const VERIFY_INTERVAL = 60
/** U4: requests of one entity in a minute, whomever it asks. */
const MOST_OF_ENTITY = 60
/** U4: requests of one entity to one account, and all to one account, in ten minutes. */
const MOST_OF_PAIR = 10
const MOST_TO_ACCOUNT = 30

/** Client mode on one host. */
export class ClientMode {
  private readonly module: ClientModule
  private readonly delegations: ClientDelegations
  private readonly consents = new Consents()
  private readonly ofEntity = new RateLimit(MOST_OF_ENTITY, 60)
  private readonly ofPair = new RateLimit(MOST_OF_PAIR, 600)
  private readonly toAccount = new RateLimit(MOST_TO_ACCOUNT, 600)
  private readonly undo: (() => void)[] = []

  /**
   * @param registry - who can manage
   * @param isConfigured - whether the configuration delegates a namespace: that wins (U6)
   */
  constructor(module: ClientModule, registry: Registry, isConfigured: (namespace: string) => boolean) {
    this.module = module
    this.delegations = new ClientDelegations(module, registry, isConfigured)
  }

  /** Reads what was kept, and begins to take requests. */
  async start(): Promise<void> {
    const { module, delegations } = this
    await delegations.start()
    this.on(`iq-get/host/${NS_DELEGATION}:query`, (event) => this.request(event))
    this.on('message/host', (event) => this.answer(event))
    this.on('resource-bind', ({ session }) => {
      delegations.verifyAccount(session.username!).catch((error) => this.failed(error))
    })
    this.on('resource-unbind', ({ session }) => this.ended(session))
    this.on('resource-lost', ({ resource }) => this.lost(resource.username))
    const verifying = module.every(VERIFY_INTERVAL, () => delegations.verifyAll())
    const command = module.host.items.add('adhoc', configureCommand(delegations), module.name)
    this.undo.push(command, () => verifying.cancel())
    this.loadCommands()
  }

  /** Client mode is switched off, or the plugin unloaded. */
  stop(): void {
    for (const undo of this.undo.splice(0)) undo()
    for (const consent of this.consents.all()) this.refuse(consent)
    this.delegations.stop()
  }

  /** The configuration has changed. */
  reloaded(): void {
    this.loadCommands()
    this.delegations.reloaded().catch((error) => this.failed(error))
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
  private request({ origin, stanza }: StanzaEvent): true {
    const entity = entityOf(origin, stanza, this.module.server)
    const asking = this.asking(entity)
    if (!this.ofEntity.take(asking)) {
      throw new StanzaError('resource-constraint', 'Too many requests; wait a minute')
    }
    const { account, namespaces } = readRequest(stanza.payload)
    if (bareOf(entity) === account.full) {
      throw new StanzaError('not-allowed', 'An account does not delegate to itself')
    }
    if (this.delegations.connectionsOf(entity).length === 0) throw unreachable(origin)
    if (!this.ofPair.take(`${asking} ${account.full}`)) {
      throw new StanzaError('resource-constraint', 'Too many requests to this account; wait ten minutes')
    }
    if (account.domain !== this.module.host.name) throw unavailable()
    this.ask(entity, account.local, namespaces)
    origin.send(reply(stanza))
    return true
  }

  /** Who is limited when an entity asks (U4): a component has as many addresses as it likes. */
  private asking(entity: string): string {
    const domain = domainOf(entity)
    const isComponent = this.module.server.hosts.get(domain)?.hostType === 'component'
    return isComponent ? domain : bareOf(entity)
  }

  private ask(entity: string, username: string, namespaces: readonly string[]): void {
    const { delegations, consents, module } = this
    const recipients = askable(module.host.accounts.get(username)?.sessions.values() ?? [])
    if (recipients.length === 0) throw unavailable()
    const wanted = namespaces.filter((namespace) => delegations.managerOf(username, namespace) !== entity)
    const room = delegations.room(username)
    const grantable = wanted
      .filter((namespace) => delegations.mayGrant(namespace))
      .slice(0, Math.max(0, room))
    if (grantable.length === 0) {
      // There is nothing that the account could decide: it is not disturbed.
      delegations.tell(username, entity)
      return
    }
    const open = consents.of(username)
    if (open.some((consent) => this.asking(consent.entity) === this.asking(entity))) {
      throw new StanzaError('resource-constraint', 'The account has not answered the last request yet')
    }
    if (open.length >= MOST_OPEN || !this.toAccount.take(username)) throw unavailable()
    const timeout = module.after(module.options.delegation_consent_timeout, () => this.refuse(consent))
    const consent = consents.add(username, entity, grantable, timeout)
    const question = {
      host: module.host.name,
      entity,
      challenge: consent.challenge,
      grantable: new Map(grantable.map((name) => [name, delegations.managerOf(username, name)])),
      refused: wanted.filter((namespace) => !grantable.includes(namespace)),
    }
    for (const session of recipients) session.send(consentMessage(question, session.fullJid!))
    module.log.info('asked an account for delegations', {
      account: username,
      entity,
      namespaces: grantable.length,
    })
  }

  /**
   * U2: a message to the host, with the answer of an account perhaps. Only a session of the account speaks for
   * it: a `from` could be a component's invention.
   */
  private answer({ origin, stanza }: StanzaEvent): true | undefined {
    if (stanza.attrs.type === 'error') return undefined
    const given = readConsent(stanza)
    if (given === undefined) return undefined
    const session = this.module.server.fullJids.get(origin.fullJid ?? '')
    const own =
      session === origin && session.host === this.module.host && stanza.attrs.from === session.fullJid
    const consent = own ? this.consents.find(session.username!, given.challenge) : undefined
    if (consent === undefined || !this.consents.close(consent)) {
      const text = 'This request is not known here: it was answered already, or is too old'
      origin.send(errorReply(stanza, 'item-not-found', text))
      return true
    }
    const { username, entity } = consent
    const granted = consent.namespaces.filter((namespace) => given.agrees(namespace))
    this.module.log.info('an account has answered a request for delegations', {
      account: username,
      entity,
      granted: granted.length,
    })
    this.delegations.grant(username, granted, entity, consent.asked)
    return true
  }

  /** Nobody has consented. */
  private refuse(consent: Consent): void {
    if (this.consents.close(consent)) this.delegations.tell(consent.username, consent.entity)
  }

  /** A session ends; with the last one of an account, what it was asked and, unless kept, what it has granted. */
  private ended({ account }: StreamSession): void {
    if (account === undefined || account.sessions.size > 1) return
    const { username } = account
    for (const consent of this.consents.of(username)) this.refuse(consent)
    if (!this.isElsewhere(username)) this.delegations.accountLeft(username)
  }

  /** Whether an account has sessions at other processes. */
  private isElsewhere(username: string): boolean {
    const { host, server } = this.module
    return (server.cluster?.holdersOf(host, username).size ?? 0) > 0
  }

  /** The process of a session has died. */
  private lost(username: string): void {
    if (!this.module.host.isOnline(username)) this.delegations.accountLeft(username)
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

/** The answer for no such account, and for one that can not be asked now: the same as to any message (U4). */
function unavailable(): StanzaError {
  return new StanzaError('service-unavailable', 'The account can not be asked')
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
