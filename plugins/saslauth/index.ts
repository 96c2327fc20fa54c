/** Authentication of clients (SASL, RFC 6120 §6) and their resource binding (§7). */

import {
  bindResource,
  definePlugin,
  errorReply,
  escapeText,
  NS_BIND,
  NS_CHANNEL_BINDING,
  NS_SASL,
  NS_SESSION,
  reply,
  type Stanza,
  type StreamSession,
  writeElement,
  xml,
} from '../../server/index.ts'
import { Authenticator } from './authenticator.ts'
import { Offers } from './offers.ts'
import { options, type SaslModule } from './options.ts'

const BIND_FEATURE = `<bind xmlns='${NS_BIND}'><required/></bind>`
const SESSION_FEATURE = `<session xmlns='${NS_SESSION}'><optional/></session>`

/** RFC 6120 §7.6 */
function bind(module: SaslModule, session: StreamSession, stanza: Stanza): true | Promise<true> | undefined {
  // RFC 6120 §7.1: the stream ends for who has not authenticated.
  if (session.type === 'c2s_unauthed') return undefined
  if (session.type !== 'c2s_unbound' || stanza.attrs.type !== 'set') {
    session.send(errorReply(stanza, 'not-allowed', 'A resource is bound once, with an IQ of type set'))
    return true
  }
  const wanted = stanza.payload?.getChildText('resource') ?? undefined
  const { conflict_resolve, max_resources } = module.options
  // What is thrown here is told to the client by the server.
  const { cluster } = module.server
  if (cluster === undefined) {
    return tellBound(session, stanza, bindResource(session, wanted, conflict_resolve, max_resources))
  }
  return cluster.bindings
    .bind(session, wanted, conflict_resolve, max_resources)
    .then((jid) => tellBound(session, stanza, jid))
}

function tellBound(session: StreamSession, stanza: Stanza, jid: string): true {
  session.log.info('bound', { jid })
  const content = writeElement('bind', { xmlns: NS_BIND }, writeElement('jid', {}, escapeText(jid)))
  const { id, from } = stanza.attrs
  session.sendText(writeElement('iq', { type: 'result', id, to: from }, content))
  return true
}

export default definePlugin({
  name: 'saslauth',
  hostType: 'host',
  options,
  load(module) {
    const offers = new Offers(module)
    const authenticator = new Authenticator(module, offers)
    module.hook('stream-features', ({ origin, features }) => {
      if (origin.type === 'c2s_unbound') {
        features.appendWritten(BIND_FEATURE, 'bind', NS_BIND)
        features.appendWritten(SESSION_FEATURE, 'session', NS_SESSION)
        return
      }
      if (origin.type !== 'c2s_unauthed') return
      const { feature } = offers.to(origin)
      if (feature === '') return
      features.appendWritten(feature, 'mechanisms', NS_SASL)
      const bindings = offers.bindings(origin)
      if (bindings !== undefined) {
        // XEP-0440
        const types = bindings.types().map((type) => xml('channel-binding', { type }))
        features.append(xml('sasl-channel-binding', { xmlns: NS_CHANNEL_BINDING }, ...types))
      }
    })
    module.hook(`stanza/${NS_SASL}:auth`, ({ origin, stanza }) => authenticator.auth(origin, stanza))
    module.hook(`stanza/${NS_SASL}:response`, ({ origin, stanza }) => authenticator.response(origin, stanza))
    module.hook(`stanza/${NS_SASL}:abort`, ({ origin }) => authenticator.abort(origin))
    module.hook(`stanza/iq/${NS_BIND}:bind`, ({ origin, stanza }) => bind(module, origin, stanza))
    module.hook(`iq-set/self/${NS_BIND}:bind`, ({ origin, stanza }) => {
      origin.send(errorReply(stanza, 'not-allowed', 'A resource is bound once'))
      return true
    })
    // RFC 3921 §3: obsolete, and asked for by old clients.
    module.hook(`iq-set/self/${NS_SESSION}:session`, ({ origin, stanza }) => {
      origin.send(reply(stanza))
      return true
    })
    module.hook(`iq-set/host/${NS_SESSION}:session`, ({ origin, stanza }) => {
      origin.send(reply(stanza))
      return true
    })
  },
})
