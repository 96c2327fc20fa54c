/** Who is where: what the other processes hold, as they have told it. */

import type { Host } from '../host.ts'
import { prepareJid } from '../jid.ts'
import type { Member } from './bus.ts'
import { type Beginning, type PeerLink, RemoteConnection, type RemotePeer, RemoteResource } from './peers.ts'

/** Told of what comes and goes at other processes. */
export interface DirectoryListener {
  connectionJoined(connection: RemoteConnection): void
  connectionLeft(connection: RemoteConnection): void
  /** A resource comes, or is available from now on, or is not, or has another priority. */
  accountChanges(bareJid: string): void
  resourceLeft(resource: RemoteResource): void
}

/** What a process tells of a bound session: `s` and its id, under which it says this. */
export function describeSession(
  fullJid: string,
  { sequence, since }: Beginning,
  priority: number | undefined,
): string {
  return `${fullJid}\n${sequence}\n${since}\n${priority ?? ''}`
}

/** What it tells of a component's connection: `c` and its id. */
export function describeConnection(domain: string, { sequence, since }: Beginning, shares: boolean): string {
  return `${domain}\n${sequence}\n${since}\n${shares ? 1 : 0}`
}

export class Directory {
  private readonly link: PeerLink
  private readonly hosts: ReadonlyMap<string, Host>
  private readonly listener: DirectoryListener
  /** By the process's id and the entry's key. */
  private readonly peers = new Map<string, Map<string, RemotePeer>>()
  /** What others hold of hosts that are not served here. */
  private readonly forHosts = new Map<string, { host: string; member: Member; key: string; value: string }>()
  private readonly byFullJid = new Map<string, RemoteResource>()
  /** Bare JID → its resources elsewhere, who was bound first at the beginning. */
  private readonly byAccount = new Map<string, RemoteResource[]>()
  private readonly byDomain = new Map<string, RemoteConnection[]>()

  constructor(link: PeerLink, hosts: ReadonlyMap<string, Host>, listener: DirectoryListener) {
    this.link = link
    this.hosts = hosts
    this.listener = listener
  }

  /** The resource of another process; undefined if there is none. */
  find(fullJid: string): RemoteResource | undefined {
    return this.byFullJid.get(fullJid)
  }

  /** An account's resources at other processes. */
  resourcesOf(bareJid: string): readonly RemoteResource[] {
    return this.byAccount.get(bareJid) ?? NOBODY
  }

  /** A component's connections to other processes. */
  connectionsOf(domain: string): readonly RemoteConnection[] {
    return this.byDomain.get(domain) ?? NO_CONNECTION
  }

  /** The session or connection with an id at another process. */
  peer(member: Member, key: string): RemotePeer | undefined {
    return this.peers.get(member.id)?.get(key)
  }

  changed(member: Member, key: string, value: string | undefined): void {
    const own = this.peers.get(member.id)
    const known = own?.get(key)
    if (value === undefined) {
      this.forHosts.delete(`${member.id} ${key}`)
      if (known === undefined) return
      own!.delete(key)
      this.remove(known)
      return
    }
    const [jid = '', sequence = '0', since = '0', rest = ''] = value.split('\n')
    if (known !== undefined) {
      if (known instanceof RemoteResource) {
        this.listener.accountChanges(known.bareJid)
        describeAnew(known, rest)
      }
      return
    }
    const prepared = prepareJid(jid)
    if (prepared === undefined) return
    const host = this.hosts.get(prepared.domain)
    if (host === undefined) {
      this.waitForHost(prepared.domain, member, key, value)
      return
    }
    const kind = key[0]
    const wireKey = { id: key.slice(1), jid } as const
    const beginning = { sequence: Number(sequence), since: Number(since) }
    let peer: RemotePeer
    if (kind === 's') {
      const resource = new RemoteResource(this.link, member, { kind: 's', ...wireKey }, host, beginning)
      describeAnew(resource, rest)
      this.listener.accountChanges(resource.bareJid)
      this.byFullJid.set(jid, resource)
      insert(this.byAccount, resource.bareJid, resource)
      peer = resource
    } else if (kind === 'c') {
      const connection = new RemoteConnection(
        this.link,
        member,
        { kind: 'c', ...wireKey },
        host,
        beginning,
        rest === '1',
      )
      insert(this.byDomain, jid, connection)
      peer = connection
    } else return
    if (own === undefined) this.peers.set(member.id, new Map([[key, peer]]))
    else own.set(key, peer)
    if (peer instanceof RemoteConnection) this.listener.connectionJoined(peer)
  }

  /** A host is served here from now on: what others hold of it counts. */
  hostActivated(name: string): void {
    for (const [id, { host, member, key, value }] of [...this.forHosts]) {
      if (host !== name) continue
      this.forHosts.delete(id)
      this.changed(member, key, value)
    }
  }

  private waitForHost(host: string, member: Member, key: string, value: string): void {
    this.forHosts.set(`${member.id} ${key}`, { host, member, key, value })
  }

  /** A process is gone with all that it held. */
  left(member: Member, orderly: boolean): void {
    for (const [id, held] of this.forHosts) if (held.member.id === member.id) this.forHosts.delete(id)
    const own = this.peers.get(member.id)
    if (own === undefined) return
    this.peers.delete(member.id)
    // First nobody is there any more, then it is told: whoever is told looks for others.
    for (const peer of own.values()) {
      peer.lost = !orderly
      this.forget(peer)
    }
    for (const peer of own.values()) this.tell(peer)
  }

  /** How many there are, for `legate status`. */
  counts(member: Member): { sessions: number; connections: number } {
    let sessions = 0
    let connections = 0
    for (const peer of this.peers.get(member.id)?.values() ?? []) {
      if (peer instanceof RemoteResource) sessions++
      else connections++
    }
    return { sessions, connections }
  }

  private remove(peer: RemotePeer): void {
    this.forget(peer)
    this.tell(peer)
  }

  private forget(peer: RemotePeer): void {
    peer.left()
    if (peer instanceof RemoteResource) {
      if (this.byFullJid.get(peer.fullJid) === peer) this.byFullJid.delete(peer.fullJid)
      takeOut(this.byAccount, peer.bareJid, peer)
    } else if (peer instanceof RemoteConnection) takeOut(this.byDomain, peer.key.jid, peer)
  }

  private tell(peer: RemotePeer): void {
    if (peer instanceof RemoteResource) this.listener.resourceLeft(peer)
    else if (peer instanceof RemoteConnection) this.listener.connectionLeft(peer)
  }
}

const NOBODY: readonly RemoteResource[] = []
const NO_CONNECTION: readonly RemoteConnection[] = []

function describeAnew(resource: RemoteResource, priority: string): void {
  resource.available = priority !== ''
  resource.priority = Number(priority)
}

/** Keeps the order of the sequence. */
function insert<T extends RemotePeer>(lists: Map<string, T[]>, name: string, peer: T): void {
  const list = lists.get(name)
  if (list === undefined) {
    lists.set(name, [peer])
    return
  }
  let at = list.length
  while (at > 0 && list[at - 1]!.sequence > peer.sequence) at--
  list.splice(at, 0, peer)
}

function takeOut<T extends RemotePeer>(lists: Map<string, T[]>, name: string, peer: T): void {
  const list = lists.get(name)
  const at = list?.indexOf(peer) ?? -1
  if (at < 0) return
  if (list!.length === 1) lists.delete(name)
  else list!.splice(at, 1)
}
