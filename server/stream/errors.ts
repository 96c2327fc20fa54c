/** Stream errors: the conditions of RFC 6120 §4.9.3, and the error that carries one. */

/** Every condition that RFC 6120 §4.9.3 defines. */
export const STREAM_ERROR_CONDITIONS = [
  'bad-format',
  'bad-namespace-prefix',
  'conflict',
  'connection-timeout',
  'host-gone',
  'host-unknown',
  'improper-addressing',
  'internal-server-error',
  'invalid-from',
  'invalid-namespace',
  'invalid-xml',
  'not-authorized',
  'not-well-formed',
  'policy-violation',
  'remote-connection-failed',
  'reset',
  'resource-constraint',
  'restricted-xml',
  'see-other-host',
  'system-shutdown',
  'undefined-condition',
  'unsupported-encoding',
  'unsupported-feature',
  'unsupported-stanza-type',
  'unsupported-version',
] as const

export type StreamErrorCondition = (typeof STREAM_ERROR_CONDITIONS)[number]

/** A reason to end a stream, as it is told to the peer: a condition and a sentence. */
export class StreamError extends Error {
  readonly condition: StreamErrorCondition
  /** An application-specific condition (RFC 6120 §4.9.4), written; `''` if there is none. */
  readonly detail: string

  constructor(condition: StreamErrorCondition, text: string, detail = '') {
    super(text)
    this.name = 'StreamError'
    this.condition = condition
    this.detail = detail
  }
}
