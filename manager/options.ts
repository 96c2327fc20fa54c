/** How a manager is to work: what its maker can say, and what it tells its maker. */

import type { Element } from '@xmpp/xml'
import { prepareJid } from '../server/jid.ts'
import type { DelegatedRequest } from './request.ts'

/**
 * Answers the requests of a namespace: returns the payload of the result, or nothing for an empty result; throws
 * a `StanzaError` (this library's, or one of `@xmpp/*`) for an error. May be async.
 */
export type NamespaceHandler = (
  request: DelegatedRequest,
) => Element | undefined | Promise<Element | undefined>

/** Something that people should know of. */
export interface ManagerFault {
  /**
   * `handler`: a handler threw something that is no stanza error, returned what can not be sent, or took too
   * long; `unsent`: an answer could not be written; `refused`: somebody sent a wrapper that was not theirs to
   * send, or a broken one. Anybody can cause that as often as they like.
   */
  readonly kind: 'handler' | 'unsent' | 'refused'
  readonly error: unknown
  /** Who sent the wrapper. */
  readonly host: string
  readonly namespace?: string
  readonly asker?: string
}

/** How a manager is to work. */
export interface ManagerOptions {
  /** The hosts (VirtualHosts) that may delegate to it. What others send is refused. */
  readonly hosts: readonly string[]
  /** Requests that may be under way at once; more get `resource-constraint`. Default 1000. */
  readonly maxInFlight?: number
  /** The same for one asker (bare JID). Default 100. */
  readonly maxInFlightPerAsker?: number
  /** Seconds for a handler, then the asker gets `remote-server-timeout`. Default 25: hosts wait some 30. */
  readonly timeout?: number
  /** Bytes of an answer's payload; a bigger one is not sent. Default 500 000: servers end a stream beyond 512 KiB. */
  readonly maxAnswerBytes?: number
  /** Told of what goes wrong. The default writes `handler` and `unsent` to stderr. */
  readonly onFault?: (fault: ManagerFault) => void
}

/**
 * Options with their defaults.
 *
 * @throws TypeError for one that can not be
 */
export function readOptions(options: ManagerOptions) {
  const hosts: ReadonlySet<string> = new Set(options.hosts.map(hostName))
  if (hosts.size === 0) throw new TypeError('hosts is empty: name the hosts that may delegate')
  return {
    hosts,
    maxInFlight: above0('maxInFlight', options.maxInFlight ?? 1000),
    maxInFlightPerAsker: above0('maxInFlightPerAsker', options.maxInFlightPerAsker ?? 100),
    timeout: above0('timeout', options.timeout ?? 25),
    maxAnswerBytes: above0('maxAnswerBytes', options.maxAnswerBytes ?? 500_000),
    onFault: options.onFault ?? writeFault,
  }
}

/** @throws TypeError if it is no domain */
export function hostName(text: string): string {
  const jid = prepareJid(text)
  if (jid === undefined || jid.local !== undefined || jid.resource !== undefined) {
    throw new TypeError(`${JSON.stringify(text)} is no host: give the domain of a VirtualHost`)
  }
  return jid.full
}

/** @throws TypeError */
function above0(name: string, value: number): number {
  if (!(value > 0 && Number.isFinite(value))) throw new TypeError(`${name} must be above 0, is ${value}`)
  return value
}

function writeFault({ kind, error, host, namespace, asker }: ManagerFault): void {
  if (kind === 'refused') return
  console.error(`${kind === 'handler' ? 'a handler failed' : 'an answer was not sent'}:`, {
    host,
    namespace,
    asker,
    error,
  })
}
