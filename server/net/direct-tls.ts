/** TLS as the first thing on a connection (XEP-0368): whose certificate is shown, and for which protocol. */

import type { SecureContext } from 'node:tls'
import type { TlsMaterial } from './certificates.ts'
import type { Connection } from './connection.ts'

/**
 * Begins TLS on a connection that has sent nothing yet. The client is shown the certificate of the host that it names
 * (SNI). One that asks for other protocols only (ALPN) is turned away, as RFC 7301 §3.2 has it; one that asks for none
 * is taken.
 *
 * @param protocol - of ALPN
 * @param materialOf - the certificate for a name; what is shown to those who name nobody is that of `undefined`
 * @param secured - called when the handshake is done, with what was shown
 */
export function acceptTls(
  connection: Connection,
  protocol: string,
  materialOf: (name: string | undefined) => TlsMaterial | undefined,
  secured: (material: TlsMaterial) => void,
): void {
  const unnamed = materialOf(undefined)
  if (unnamed === undefined) {
    connection.destroy('no host has a certificate')
    return
  }
  let shown = unnamed
  const SNICallback = (
    name: string,
    answer: (error: Error | null, context?: SecureContext) => void,
  ): void => {
    shown = materialOf(name) ?? unnamed
    answer(null, shown.context)
  }
  connection.startTls(unnamed.context, () => secured(shown), { SNICallback, ALPNProtocols: [protocol] })
}
