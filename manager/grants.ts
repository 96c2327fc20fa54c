/** What hosts have granted on the present connection, and waiting for it (XEP-0355 §4.2). */

import type { Element } from '@xmpp/xml'
import { NS_DELEGATION } from '../server/stanza/namespaces.ts'

/** A namespace that a host delegates to this component. */
export interface Grant {
  readonly host: string
  readonly namespace: string
  /** Attributes that the payload must have for a request to be forwarded; empty: all are. */
  readonly filtering: readonly string[]
}

interface Waiter {
  readonly namespaces: readonly string[]
  /** Undefined: any. */
  readonly host: string | undefined
  resolve(grants: readonly Grant[]): void
}

const NONE: ReadonlyMap<string, Grant> = new Map()

/** The advertisement in a message; undefined if there is none that is meant for the component itself. */
export function readAdvertisement(message: Element, host: string): ReadonlyMap<string, Grant> | undefined {
  if (!message.is('message') || message.attrs.type === 'error') return undefined
  const delegation = message.getChild('delegation', NS_DELEGATION)
  // With a `to`, it tells what one account has granted (client mode), and not what the host has.
  if (delegation === undefined || delegation.attrs.to !== undefined) return undefined
  const grants = new Map<string, Grant>()
  for (const delegated of delegation.getChildren('delegated', NS_DELEGATION)) {
    const namespace: unknown = delegated.attrs.namespace
    if (typeof namespace !== 'string' || namespace === '') continue
    const attributes = delegated.getChildren('attribute', NS_DELEGATION)
    const filtering = attributes.map(({ attrs }) => String(attrs.name ?? '')).filter((name) => name !== '')
    grants.set(namespace, { host, namespace, filtering })
  }
  return grants
}

/** By host and namespace. A host's newer list takes the place of its older one. */
export class Grants {
  private readonly byHost = new Map<string, ReadonlyMap<string, Grant>>()
  private readonly waiters = new Set<Waiter>()

  of(host: string): ReadonlyMap<string, Grant> {
    return this.byHost.get(host) ?? NONE
  }

  set(host: string, grants: ReadonlyMap<string, Grant>): void {
    this.byHost.set(host, grants)
    for (const waiter of [...this.waiters]) {
      const found = this.find(waiter.namespaces, waiter.host)
      if (found !== undefined && this.waiters.delete(waiter)) waiter.resolve(found)
    }
  }

  /** Nothing is granted any more. @returns the hosts that had granted something */
  clear(): string[] {
    const hosts = [...this.byHost.keys()].filter((host) => this.of(host).size > 0)
    this.byHost.clear()
    return hosts
  }

  /** Resolves when all are granted, by the host or, without one, each by some host. */
  wait(
    namespaces: readonly string[],
    host: string | undefined,
    signal: AbortSignal | undefined,
  ): Promise<readonly Grant[]> {
    return new Promise((resolve, reject) => {
      signal?.throwIfAborted()
      const found = this.find(namespaces, host)
      if (found !== undefined) {
        resolve(found)
        return
      }
      const aborted = (): void => {
        this.waiters.delete(waiter)
        reject(signal?.reason)
      }
      const waiter: Waiter = {
        namespaces,
        host,
        resolve(grants) {
          signal?.removeEventListener('abort', aborted)
          resolve(grants)
        },
      }
      signal?.addEventListener('abort', aborted, { once: true })
      this.waiters.add(waiter)
    })
  }

  private find(namespaces: readonly string[], host: string | undefined): readonly Grant[] | undefined {
    const tables = host === undefined ? [...this.byHost.values()] : [this.of(host)]
    const found: Grant[] = []
    for (const namespace of namespaces) {
      const grants = tables.flatMap((table) => table.get(namespace) ?? [])
      if (grants.length === 0) return undefined
      found.push(...grants)
    }
    return found
  }
}
