/** Who answers requests from other processes of a cluster: with their process their answers are gone. */

import {
  type ComponentConnections,
  domainOf,
  type Peer,
  RemotePeer,
  type Server,
} from '../../server/index.ts'

const NOBODY: ReadonlySet<never> = new Set()

/** Requests by the session or connection, at another process, that has been asked. */
export class Addressees<T extends object> {
  private readonly server: Server
  private readonly asked = new Map<Peer, Set<T>>()
  private readonly askedFor = new Map<T, Peer | undefined>()

  constructor(server: Server) {
    this.server = server
  }

  /**
   * Notes who will get a request, if that is somebody at another process.
   *
   * @param to - full JID, or an address at a component
   * @param from - bare JID of the account that it comes from
   */
  note(request: T, to: string, from: string): void {
    const { cluster, hosts } = this.server
    if (cluster === undefined) return
    const domain = domainOf(to)
    if (hosts.get(domain)?.hostType === 'host') {
      this.add(request, cluster.directory.find(to))
      return
    }
    const connections = this.server
      .sharedTable('component/connections', () => new Map<string, ComponentConnections>())
      .get(domain)
    const owner = connections?.shared === true ? connections.of(from) : connections?.first
    if (!(owner instanceof Promise)) {
      this.add(request, owner)
      return
    }
    this.askedFor.set(request, undefined)
    owner.then(
      (peer) => {
        if (this.askedFor.has(request)) this.add(request, peer)
      },
      // Then it ends with its time.
      () => this.askedFor.delete(request),
    )
  }

  /** A request has been answered, or is not waited for any more. */
  forget(request: T): void {
    const peer = this.askedFor.get(request)
    if (!this.askedFor.delete(request) || peer === undefined) return
    const requests = this.asked.get(peer)
    requests?.delete(request)
    if (requests?.size === 0) this.asked.delete(peer)
  }

  /** The requests that somebody who has gone was asked. */
  leftBy(peer: Peer): readonly T[] {
    return [...(this.asked.get(peer) ?? NOBODY)]
  }

  private add(request: T, peer: Peer | undefined): void {
    if (!(peer instanceof RemotePeer)) {
      this.askedFor.delete(request)
      return
    }
    this.askedFor.set(request, peer)
    const requests = this.asked.get(peer)
    if (requests === undefined) this.asked.set(peer, new Set([request]))
    else requests.add(request)
  }
}
