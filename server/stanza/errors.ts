/** Stanza errors: the conditions of RFC 6120 §8.3.3 with their default types. */

/** Every condition of RFC 6120 §8.3.3 and the error type that goes with it. */
export const STANZA_ERROR_TYPES = {
  'bad-request': 'modify',
  conflict: 'cancel',
  'feature-not-implemented': 'cancel',
  forbidden: 'auth',
  gone: 'cancel',
  'internal-server-error': 'cancel',
  'item-not-found': 'cancel',
  'jid-malformed': 'modify',
  'not-acceptable': 'modify',
  'not-allowed': 'cancel',
  'not-authorized': 'auth',
  'policy-violation': 'modify',
  'recipient-unavailable': 'wait',
  redirect: 'modify',
  'registration-required': 'auth',
  'remote-server-not-found': 'cancel',
  'remote-server-timeout': 'wait',
  'resource-constraint': 'wait',
  'service-unavailable': 'cancel',
  'subscription-required': 'auth',
  'undefined-condition': 'cancel',
  'unexpected-request': 'wait',
} as const

export type StanzaErrorCondition = keyof typeof STANZA_ERROR_TYPES
export type StanzaErrorType = 'auth' | 'cancel' | 'continue' | 'modify' | 'wait'

/** Thrown by a handler: the asker gets it as the stanza's error, nothing is logged as a failure. */
export class StanzaError extends Error {
  readonly condition: StanzaErrorCondition
  readonly type: StanzaErrorType

  /**
   * @param condition - of RFC 6120 §8.3.3
   * @param text - for people; may be empty
   * @param type - the default is the one that RFC 6120 gives the condition
   */
  constructor(
    condition: StanzaErrorCondition,
    text = '',
    type: StanzaErrorType = STANZA_ERROR_TYPES[condition],
  ) {
    super(text)
    this.name = 'StanzaError'
    this.condition = condition
    this.type = type
  }
}
