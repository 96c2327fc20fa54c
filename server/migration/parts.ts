/** What is taken over of an account, piece by piece, whatever it comes from. */

import type { ScramHash, ScramKeys } from '../auth/scram.ts'
import type { KeptStanza } from '../stanza/kept.ts'
import type { StoredContact, StoredPreferences, StoredRequest } from './stores.ts'

/** Where something stands in what is imported. */
export interface Place {
  readonly file: string
  /** From 1 on; absent if it is about the whole file. */
  readonly line?: number | undefined
  readonly column?: number | undefined
}

/** Something that can not be imported as it is; the message is for people. */
export class DataError extends Error {
  readonly place: Place

  constructor(place: Place, message: string) {
    super(message)
    this.name = 'DataError'
    this.place = place
  }
}

/** What is wrong with a value, for whoever knows where it stands. */
export class ContentError extends Error {
  override readonly name = 'ContentError'
}

/**
 * The pieces of all accounts, one account after the other. An account begins with `begin` and ends with `end`; once
 * something of it is `broken` nothing of it is imported.
 */
export type Part =
  | { readonly kind: 'begin'; readonly host: string; readonly username: string; readonly place: Place }
  | { readonly kind: 'end' }
  | { readonly kind: 'broken'; readonly place: Place; readonly text: string }
  /** Outside of accounts, or something that is not taken over and told once. */
  | { readonly kind: 'failure'; readonly place: Place; readonly text: string }
  | { readonly kind: 'ignored'; readonly what: string; readonly place: Place }
  | AccountPart

/** A piece of the account that has begun. */
export type AccountPart =
  | { readonly kind: 'password'; readonly password: string }
  | { readonly kind: 'keys'; readonly hash: ScramHash; readonly keys: ScramKeys }
  /** Unix time in seconds. */
  | { readonly kind: 'times'; readonly created: number | undefined; readonly updated: number | undefined }
  | { readonly kind: 'contact'; readonly contact: StoredContact }
  /** Of the whole roster (RFC 6121 §2.6). */
  | { readonly kind: 'roster-version'; readonly version: number }
  | { readonly kind: 'request'; readonly request: StoredRequest }
  | { readonly kind: 'vcard'; readonly text: string }
  | { readonly kind: 'private'; readonly key: string; readonly text: string }
  | { readonly kind: 'blocked'; readonly jid: string }
  | { readonly kind: 'preferences'; readonly preferences: StoredPreferences }
  | { readonly kind: 'offline'; readonly stanza: KeptStanza; readonly when: number }
  | {
      readonly kind: 'archived'
      readonly stanza: KeptStanza
      readonly when: number
      /** Bare JID of whom it was exchanged with. */
      readonly partner: string
      /** As it was before; kept if it is one of ours. */
      readonly id: string | undefined
    }

/** `capulet.lit.xml:12:5`, as compilers write it. */
export function placeText({ file, line, column }: Place): string {
  return [file, line, line === undefined ? undefined : column].filter((part) => part !== undefined).join(':')
}
