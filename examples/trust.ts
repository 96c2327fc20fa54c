/** Trust in one certificate, for clients of @xmpp/client, which has no option for that. */

import tls, { type ConnectionOptions } from 'node:tls'

/**
 * Every TLS connection that this process begins from now on trusts this certificate and no other, and checks
 * that it names the host. (Switching verification off would be easier, and would trust everybody.)
 *
 * @param certificatePem - the server's
 * @returns undoes it
 */
export function trustOnly(certificatePem: string): () => void {
  const { connect } = tls
  const trusting = (options: ConnectionOptions) => connect({ ...options, ca: [certificatePem] })
  Object.assign(tls, { connect: trusting })
  return () => Object.assign(tls, { connect })
}
