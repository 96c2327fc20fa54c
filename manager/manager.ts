/** The managing entity of delegated namespaces, over a component of `@xmpp/component` (XEP-0355). */

import { EventEmitter } from 'node:events'
import type { Element } from '@xmpp/xml'
import { prepareJid } from '../server/jid.ts'
import { NS_DELEGATION, NS_DISCO_INFO } from '../server/stanza/namespaces.ts'
import { checkedPayload, errorElement, replyTo, thrownError, wrappedAnswer } from './answer.ts'
import { accountNode, discoInfo, hostNode, type NestedDisco, remainingDisco } from './disco.ts'
import type { ManagerEntity } from './entity.ts'
import { type Grant, Grants, readAdvertisement } from './grants.ts'
import { InFlight } from './in-flight.ts'
import {
  hostName,
  type ManagerFault,
  type ManagerOptions,
  type NamespaceHandler,
  readOptions,
} from './options.ts'
import { type DelegatedRequest, type ForwardedRequest, readForwarded } from './request.ts'

/** Events of a manager. */
export interface ManagerEvents {
  /** A host's list has come, or has ended with the connection (then it is empty). */
  grants: [host: string, grants: ReadonlyMap<string, Grant>]
}

interface ManagedNamespace {
  readonly handler: NamespaceHandler
  readonly disco: { readonly host?: NestedDisco; readonly account?: NestedDisco }
}

/** States of the connection in which what was granted and asked on it is over. */
const GONE: ReadonlySet<string> = new Set([
  'closing',
  'close',
  'disconnecting',
  'disconnect',
  'offline',
  'connecting',
])

const managed = new WeakSet<ManagerEntity>()

/**
 * Makes a component the managing entity of namespaces; before it is started, since it is told what it manages as
 * soon as it connects. It reconnects as `@xmpp/component` does, is told anew, and answers no request over
 * another connection than that on which it came.
 *
 * @param entity - of `component()` of `@xmpp/component`, not started yet
 * @throws TypeError for an option that can not be
 * @throws Error if the component is connected already, or has a manager
 */
export function createManager(entity: ManagerEntity, options: ManagerOptions): DelegationManager {
  return new DelegationManager(entity, options)
}

/** See {@link createManager}. */
export class DelegationManager extends EventEmitter<ManagerEvents> {
  private readonly entity: ManagerEntity
  private readonly hosts: ReadonlySet<string>
  private readonly onFault: (fault: ManagerFault) => void
  private readonly namespaces = new Map<string, ManagedNamespace>()
  private readonly nodes = new Map<string, NestedDisco>()
  private readonly grants = new Grants()
  private readonly inFlight: InFlight
  private readonly maxAnswerBytes: number

  constructor(entity: ManagerEntity, options: ManagerOptions) {
    super()
    this.entity = entity
    const { hosts, maxInFlight, maxInFlightPerAsker, timeout, maxAnswerBytes, onFault } = readOptions(options)
    this.hosts = hosts
    this.inFlight = new InFlight(maxInFlight, maxInFlightPerAsker, timeout * 1000)
    this.maxAnswerBytes = maxAnswerBytes
    this.onFault = onFault
    if (managed.has(entity))
      throw new Error('this component has a manager already: use one for all namespaces')
    if (entity.status === 'online')
      throw new Error('the component is connected already: make its manager before')
    managed.add(entity)
    entity.iqCallee.set(NS_DELEGATION, 'delegation', ({ stanza }) => {
      void this.answer(stanza)
      return never()
    })
    entity.iqCallee.get(NS_DISCO_INFO, 'query', ({ stanza }, next) => (this.disco(stanza) ? never() : next()))
    entity.on('status', (status) => {
      if (GONE.has(status)) this.disconnected()
    })
    entity.on('stanza', (stanza) => {
      if (stanza.name === 'message') this.advertised(stanza)
    })
  }

  /**
   * Has a namespace's requests answered. Before the component is started: hosts ask for the features when they
   * see it connect.
   *
   * @param namespace - of payloads; `urn:xmpp:delegation:2:bare:disco#info:*` and `…:disco#items:*` stand for
   *   the discovery of accounts (XEP-0355 §7.2.3)
   * @param disco - what the host (`host`) and every account (`account`) announce for it
   * @throws Error if the namespace has a handler
   */
  handle(
    namespace: string,
    handler: NamespaceHandler,
    disco: { readonly host?: NestedDisco; readonly account?: NestedDisco } = {},
  ): this {
    if (this.namespaces.has(namespace)) throw new Error(`${namespace} has a handler already`)
    this.namespaces.set(namespace, { handler, disco })
    this.nodes.set(hostNode(namespace), disco.host ?? {})
    this.nodes.set(accountNode(namespace), disco.account ?? {})
    return this
  }

  /**
   * Waits until namespaces are granted, on this connection or the next.
   *
   * @param namespaces - one, or several; without, all that have a handler
   * @param host - that is to grant them; without, any
   * @param signal - ends the waiting: rejects with its reason
   * @returns the grants, of each host
   */
  granted(
    namespaces: string | readonly string[] = [...this.namespaces.keys()],
    host?: string,
    signal?: AbortSignal,
  ): Promise<readonly Grant[]> {
    const list = typeof namespaces === 'string' ? [namespaces] : namespaces
    const name = host === undefined ? undefined : hostName(host)
    if (name !== undefined && !this.hosts.has(name)) {
      return Promise.reject(new TypeError(`${host} is not among the hosts that may delegate`))
    }
    return this.grants.wait(list, name, signal)
  }

  /** What a host grants now, by namespace. */
  grantsOf(host: string): ReadonlyMap<string, Grant> {
    return this.grants.of(hostName(host))
  }

  /** How many requests are under way. */
  get pending(): number {
    return this.inFlight.size
  }

  private advertised(message: Element): void {
    const host = this.hostOf(message)
    const grants = host === undefined ? undefined : readAdvertisement(message, host)
    if (host === undefined || grants === undefined) return
    this.grants.set(host, grants)
    this.emit('grants', host, grants)
  }

  private disconnected(): void {
    this.inFlight.abandon()
    for (const host of this.grants.clear()) this.emit('grants', host, new Map())
  }

  /** The host that a stanza is from: nobody but the host itself can send as its bare domain. */
  private hostOf({ attrs }: Element): string | undefined {
    const from = typeof attrs.from === 'string' ? prepareJid(attrs.from)?.full : undefined
    return from !== undefined && this.hosts.has(from) ? from : undefined
  }

  /** Answers for a nested node. @returns false if none of ours is asked for */
  private disco(iq: Element): boolean {
    const node: unknown = iq.getChild('query', NS_DISCO_INFO)?.attrs.node
    const nested = typeof node === 'string' ? this.nodes.get(node) : undefined
    if (typeof node !== 'string' || nested === undefined) return false
    this.send(replyTo(iq, discoInfo(node, nested), false), { host: String(iq.attrs.from) })
    return true
  }

  private async answer(wrapper: Element): Promise<void> {
    const host = this.hostOf(wrapper)
    if (host === undefined) {
      return this.refuse(wrapper, 'forbidden', 'it is no host that may delegate')
    }
    if (this.grants.of(host).size === 0) return this.refuse(wrapper, 'forbidden', 'it has granted nothing')
    const forwarded = readForwarded(wrapper, host)
    if ('condition' in forwarded) return this.refuse(wrapper, forwarded.condition, forwarded.reason)
    const { askerBare, namespace } = forwarded.request
    const managedNamespace = this.find(host, namespace)
    if (managedNamespace === undefined) {
      return this.reply(wrapper, forwarded, errorElement('service-unavailable'), true)
    }
    const place = this.inFlight.take(askerBare)
    if (place === undefined) {
      return this.reply(wrapper, forwarded, errorElement('resource-constraint'), true)
    }
    const request: DelegatedRequest = { ...forwarded.request, signal: place.signal }
    try {
      // In a promise, so that a handler that throws at once is like one that rejects.
      const handled = Promise.resolve().then(() => managedNamespace.handler(request))
      const payload = checkedPayload(await Promise.race([handled, place.over]), this.maxAnswerBytes)
      if (place.connected) this.reply(wrapper, forwarded, payload, false)
    } catch (thrown) {
      const error = thrownError(thrown)
      if (place.connected) {
        this.reply(wrapper, forwarded, error ?? errorElement('internal-server-error'), true)
      }
      // A handler that was told to stop may say that it did.
      const stopped = !place.connected && place.signal.aborted && isAbort(thrown, place.signal)
      if (place.timedOut || (error === undefined && !stopped)) {
        this.fault('handler', thrown, forwarded.request)
      }
    } finally {
      place.leave()
    }
  }

  /** What manages a payload's namespace for a host, if it has granted it. */
  private find(host: string, namespace: string): ManagedNamespace | undefined {
    for (const name of [namespace, remainingDisco(namespace)]) {
      if (name !== undefined && this.grants.of(host).has(name)) return this.namespaces.get(name)
    }
    return undefined
  }

  private refuse(wrapper: Element, condition: 'bad-request' | 'forbidden', reason: string): void {
    const host = String(wrapper.attrs.from)
    this.send(replyTo(wrapper, errorElement(condition), true), { host })
    this.fault('refused', new Error(`refused a request that ${host} forwards: ${reason}`), { host })
  }

  private reply(
    wrapper: Element,
    forwarded: ForwardedRequest,
    content: Element | undefined,
    failed: boolean,
  ): void {
    // An error IQ inside, in a result: an error of the wrapper would tell the asker nothing (F6).
    this.send(replyTo(wrapper, wrappedAnswer(forwarded, content, failed), false), forwarded.request)
  }

  private send(stanza: Element, about: FaultSource): void {
    // At once: a turn later it could be another connection.
    const sending = async (): Promise<unknown> => this.entity.send(stanza)
    sending().catch((error: unknown) => this.fault('unsent', error, about))
  }

  private fault(kind: ManagerFault['kind'], error: unknown, { host, namespace, asker }: FaultSource): void {
    try {
      this.onFault({ kind, error, host, namespace, asker })
    } catch (failure) {
      // Whoever waits for an answer is not to suffer from it.
      console.error('onFault threw:', failure)
    }
  }
}

type FaultSource = Pick<ManagerFault, 'host' | 'namespace' | 'asker'>

/**
 * What a route returns when the answer is sent here: `@xmpp/component` would send it over whatever connection
 * there is by then, and drops elements of another copy of `@xmpp/xml`. Nobody keeps the promise.
 */
function never(): Promise<never> {
  return new Promise(() => {})
}

function isAbort(thrown: unknown, { reason }: AbortSignal): boolean {
  return thrown === reason || (thrown instanceof Error && thrown.name === 'AbortError')
}
