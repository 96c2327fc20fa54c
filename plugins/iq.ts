/** Hands IQs to the plugins that serve their payload, and to the resources they are for. */

import { definePlugin, errorReply, type Module, type StanzaEvent, type TargetKind } from '../server/index.ts'

const SCOPES: Record<TargetKind, { any: string; get: string; set: string }> = {
  bare: { any: 'iq/bare', get: 'iq-get/bare', set: 'iq-set/bare' },
  full: { any: 'iq/full', get: 'iq-get/full', set: 'iq-set/full' },
  host: { any: 'iq/host', get: 'iq-get/host', set: 'iq-set/host' },
  self: { any: 'iq/self', get: 'iq-get/self', set: 'iq-set/self' },
}

/**
 * Fires `iq/TARGET/NS:NAME` and then `iq-TYPE/TARGET/NS:NAME`; for answers `iq-TYPE/TARGET/ID`, which
 * somebody may wait for.
 */
function firePayload(module: Module, target: TargetKind, event: StanzaEvent): unknown {
  const { stanza } = event
  const { type } = stanza.attrs
  const { events } = module.host
  if (type === 'get' || type === 'set') {
    const { payloadNs, payloadName } = stanza
    const result = events.fireScoped(SCOPES[target].any, payloadNs, payloadName, event)
    return result ?? events.fireScoped(SCOPES[target][type], payloadNs, payloadName, event)
  }
  return events.fire(`iq-${type}/${target}/${stanza.attrs.id}`, event)
}

/** To a resource: what no plugin takes is its own to answer (RFC 6121 §8.5.3). */
function deliver(module: Module, { origin, stanza }: StanzaEvent): true {
  const session = module.server.fullJids.get(stanza.attrs.to!)
  if (session !== undefined && !session.destroyed) {
    session.send(stanza)
    return true
  }
  // RFC 6121 §8.5.3.2.3
  const { type } = stanza.attrs
  if (type === 'get' || type === 'set') origin.send(errorReply(stanza, 'service-unavailable'))
  return true
}

export default definePlugin({
  name: 'iq',
  load(module) {
    module.hook('iq/full', (event) => firePayload(module, 'full', event))
    // A component has no sessions: what no plugin takes is for itself.
    if (module.host.hostType === 'host') module.hook('iq/full', (event) => deliver(module, event), -1)
    // An IQ without `to`, or to one's own account, is fired as `self` by the router when this does not take it.
    module.hook('iq/bare', (event) => firePayload(module, 'bare', event))
    module.hook('iq/self', (event) => firePayload(module, 'self', event))
    module.hook('iq/host', (event) => firePayload(module, 'host', event))
  },
})
