/** STARTTLS for clients (RFC 6120 §5). */

import { c2sOptions, definePlugin, NS_TLS, Stanza } from '../server/index.ts'

const STARTTLS = `<starttls xmlns='${NS_TLS}'/>`
const STARTTLS_REQUIRED = `<starttls xmlns='${NS_TLS}'><required/></starttls>`

export default definePlugin({
  name: 'tls',
  hostType: 'host',
  options: { c2s_require_encryption: c2sOptions.c2s_require_encryption },
  load(module) {
    const { host, options, server } = module
    module.hook(
      'stream-features',
      ({ origin, features }) => {
        if (origin.secure || origin.type !== 'c2s_unauthed' || server.tlsOf(host.name) === undefined) return
        const required = options.c2s_require_encryption
        features.appendWritten(required ? STARTTLS_REQUIRED : STARTTLS, 'starttls', NS_TLS)
      },
      100,
    )
    module.hook(`stanza/${NS_TLS}:starttls`, ({ origin: session, stanza }) => {
      const material = server.tlsOf(host.name)
      if (
        session.secure ||
        session.type !== 'c2s_unauthed' ||
        material === undefined ||
        stanza.childCount > 0
      ) {
        // RFC 6120 §5.4.2.2: a failure ends the stream.
        session.send(new Stanza('failure', { xmlns: NS_TLS }))
        session.close()
        return true
      }
      session.send(new Stanza('proceed', { xmlns: NS_TLS }))
      session.log.debug('TLS starts')
      // Whatever was sent ahead in plain text must not be taken for what comes over TLS (RFC 6120 §5.3.4).
      session.discardInput()
      session.connection.startTls(material.context, () => {
        session.secure = true
        session.tlsMaterial = material
        const cipher = session.connection.tls?.getCipher()
        session.log.debug('TLS is on', { version: cipher?.version, cipher: cipher?.name })
      })
      return true
    })
  },
})
