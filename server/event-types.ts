/** The events by name and what they carry. `prosody-compat.lua.md` lists them for people. */

import type { RemoteConnection, RemoteResource } from './cluster/peers.ts'
import type { Host } from './host.ts'
import type { StanzaEvent, StanzaKind } from './router.ts'
import type { Peer } from './session.ts'
import type { Stanza } from './stanza/stanza.ts'
import type { StreamSession } from './stream/session.ts'

/** Something that happened to a session. */
export interface SessionEvent {
  readonly session: StreamSession
}

/** A first-level child of a stream that is no stanza, or came before a resource was bound. */
export interface StreamElementEvent extends StanzaEvent {
  readonly origin: StreamSession
}

/** Events with names of their own. A plugin adds its own by declaration merging. */
export interface EventTypes {
  /** Somebody has connected, and nothing is known of them yet; on the server. */
  'session-opened': SessionEvent
  /** The client's features are being put together. */
  'stream-features': { readonly origin: StreamSession; readonly features: Stanza }
  /** Somebody has proved who they are, and is not bound yet. */
  'authentication-success': SessionEvent
  'authentication-failure': {
    readonly session: StreamSession
    readonly condition: string
    readonly text: string
  }
  /** A client is about to get its resource; a handler that returns a StreamError's text refuses it. */
  'pre-resource-bind': SessionEvent
  'resource-bind': SessionEvent
  'resource-unbind': { readonly session: StreamSession; readonly reason: string | undefined }
  'c2s-closed': { readonly session: StreamSession; readonly reason: string | undefined }
  /** A client is silent. A handler that asks it itself returns true, or false of one that has not answered that. */
  'c2s-read-timeout': SessionEvent
  /**
   * An account is gone, and so are its sessions at this process; on the server. Also before a new account is made of a
   * name: whoever deleted a former one may not have told.
   */
  'user-deleted': { readonly username: string; readonly host: string }
  /** Nobody can log in to an account any more, and its sessions at this process are gone; on the server. */
  'user-disabled': { readonly username: string; readonly host: string }
  /** An account has another password; on the server. */
  'user-password-changed': { readonly username: string; readonly host: string }
  'component-authenticated': SessionEvent
  'component-disconnected': { readonly session: StreamSession; readonly reason: string | undefined }
  'component-read-timeout': SessionEvent
  'presence/initial': StanzaEvent
  'account-disco-info': {
    readonly origin: StanzaEvent['origin']
    readonly stanza: Stanza
    readonly username: string
    readonly reply: Stanza
  }
  'account-disco-items': {
    readonly origin: StanzaEvent['origin']
    readonly stanza: Stanza
    readonly username: string
    readonly reply: Stanza
  }
  'host-disco-info-node': {
    readonly origin: StanzaEvent['origin']
    readonly stanza: Stanza
    readonly node: string
    readonly reply: Stanza
    exists: boolean
  }
  'host-disco-items-node': EventTypes['host-disco-info-node']
  'account-disco-info-node': EventTypes['host-disco-info-node'] & { readonly username: string }
  'account-disco-items-node': EventTypes['account-disco-info-node']
  /** Nobody knows the node of the account, or the asker may not know of the account. */
  'account-disco-unserved': StanzaEvent & { readonly username: string; readonly node: string }
  'host-disco-items': {
    readonly origin: StanzaEvent['origin']
    readonly stanza: Stanza
    readonly reply: Stanza
  }
  'roster-get': { readonly session: StreamSession }
  'config-reloaded': {
    /** The reload is done when this is. */
    waitFor(work: Promise<unknown>): void
  }
  'host-activated': { readonly host: Host }
  'host-deactivated': { readonly host: Host }
  /** A component has connected to another process of the cluster. */
  'component-joined': { readonly connection: RemoteConnection }
  /** It is not connected there any more. */
  'component-left': { readonly connection: RemoteConnection }
  /** A component's connection at another process has sent something that came here. */
  'component-sent': { readonly peer: Peer; readonly stanza: Stanza }
  /** A session or a component's connection at another process is gone; on the server. */
  'peer-left': { readonly peer: Peer }
  /** A session is gone with its process, and nobody has been told. Fired at one of the other processes. */
  'resource-lost': { readonly resource: RemoteResource }
  'server-started': Record<string, never>
  'server-stopping': Record<string, never>
}

type Target = 'bare' | 'full' | 'host' | 'self'
type StanzaEventName =
  | 'pre-stanza'
  | 'route/remote'
  | `${'' | 'pre-'}${StanzaKind}/${Target}`
  | `iq-${'get' | 'set' | 'result' | 'error'}/${string}`
  | `iq/${string}`

/** What an event of this name carries. */
export type EventPayload<N extends string> = N extends keyof EventTypes
  ? EventTypes[N]
  : N extends `stanza/${string}`
    ? StreamElementEvent
    : N extends StanzaEventName
      ? StanzaEvent
      : unknown
