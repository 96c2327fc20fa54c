/** Stream management: acknowledgements, and sessions that outlast their connections (XEP-0198). */

import {
  definePlugin,
  NS_STANZA_ERRORS,
  type Stanza,
  type StanzaErrorCondition,
  StreamError,
  type StreamSession,
  writeElement,
} from '../../server/index.ts'
import type { ManagedStream } from './managed.ts'
import { options, type SmacksModule } from './options.ts'
import { readCounter } from './queue.ts'
import { Relay } from './relay.ts'
import { Streams } from './streams.ts'

declare module '../../server/event-types.ts' {
  interface EventTypes {
    /** A connection is lost, and its session waits for another. */
    'smacks-hibernation-start': { readonly session: StreamSession }
    /** A session has been resumed over another connection. */
    'smacks-hibernation-end': { readonly session: StreamSession }
    /** Something is kept for a session that waits. */
    'smacks-hibernation-stanza-queued': { readonly session: StreamSession; readonly text: string }
    /** A client takes long to acknowledge. */
    'smacks-ack-delayed': { readonly session: StreamSession }
    /**
     * A message waits for a session whose connection is lost. Who keeps a copy of it, for the case that this process
     * dies, returns a function that is called when it has arrived, or is somebody else's to keep; that returns a promise
     * of the end of the copy, which does not fail.
     */
    'delivery/waiting': { readonly session: StreamSession; readonly stanza: Stanza; readonly when: number }
    /** Whether another resource has had a message that a session has not acknowledged: true, or a promise of it. */
    'delivery/elsewhere': { readonly session: StreamSession; readonly stanza: Stanza; readonly when: number }
    /** Whether a session that has not acknowledged the copy of a message is the one that answers for it. */
    'delivery/copy': { readonly session: StreamSession; readonly stanza: Stanza }
    /**
     * A session has ended without having acknowledged a message, and no other one has had it. Who takes it from there
     * returns true, or a promise.
     */
    'delivery/failure': {
      readonly session: StreamSession
      readonly stanza: Stanza
      /** Milliseconds since 1970. */
      readonly when: number
    }
  }
}

const NAMESPACES = ['urn:xmpp:sm:2', 'urn:xmpp:sm:3']
/** Seconds between two looks at who takes long to acknowledge. */
const SWEEP = 5

export default definePlugin({
  name: 'smacks',
  hostType: 'host',
  options,
  load(module) {
    const streams = new Streams(module)
    const { cluster } = module.server
    const relay = cluster && new Relay(module as never, cluster, streams)

    module.hook('stream-features', ({ origin, features }) => {
      if (origin.type !== 'c2s_unbound') return
      for (const xmlns of NAMESPACES) {
        features.appendWritten(`<sm xmlns='${xmlns}'><optional/></sm>`, 'sm', xmlns)
      }
    })
    for (const xmlns of NAMESPACES) {
      module.hook(`stanza/${xmlns}:enable`, ({ origin, stanza }) => enable(module, streams, origin, stanza))
      module.hook(`stanza/${xmlns}:resume`, ({ origin, stanza }) => resume(streams, relay, origin, stanza))
      module.hook(`stanza/${xmlns}:r`, ({ origin }) => answer(streams.of(origin)) ?? refuse(origin, xmlns))
      module.hook(`stanza/${xmlns}:a`, ({ origin, stanza }) => {
        const stream = streams.of(origin)
        if (stream === undefined) return refuse(origin, xmlns)
        const refusal = stream.acknowledged(readCounter(stanza.attrs.h))
        if (refusal !== undefined) origin.close(refusal)
        return true
      })
    }

    // Before others know of it.
    module.hook('resource-unbind', ({ session }) => streams.ending(session), 1000)
    module.hook('c2s-read-timeout', ({ session }) => {
      const stream = streams.of(session)
      if (stream === undefined) return undefined
      // Who has not answered that either is gone.
      if (stream.asked !== undefined) session.connection.destroy('the client does not acknowledge')
      else {
        stream.askIfNeeded(0)
        // It has been asked for all of it before, and has acknowledged less: now it is asked in another way.
        if (stream.asked === undefined) return undefined
      }
      return true
    })
    module.hook('csi-client-active', ({ origin }) => streams.of(origin)?.askIfNeeded(0))
    module.hook('csi-flushing', ({ session }) => streams.of(session)?.askIfNeeded())
    module.every(SWEEP, () => streams.sweep())
    module.onUnload(() => {
      relay?.end()
      streams.end()
    })
  },
})

function enable(module: SmacksModule, streams: Streams, session: StreamSession, stanza: Stanza): true {
  const { xmlns = '' } = stanza.attrs
  // XEP-0198 §3: once, and not before a resource is bound.
  if (session.type !== 'c2s' || streams.of(session) !== undefined) return refuse(session, xmlns)
  const resumable = stanza.attrs.resume === 'true' || stanza.attrs.resume === '1'
  const { smacks_hibernation_time, smacks_max_hibernated_sessions } = module.options
  const wanted = readCounter(stanza.attrs.max) || Number.POSITIVE_INFINITY
  const seconds =
    resumable && smacks_max_hibernated_sessions > 0 ? Math.min(wanted, smacks_hibernation_time) : 0
  const stream = streams.manage(session, xmlns, seconds)
  const max = Number.isFinite(seconds) ? `${Math.floor(seconds)}` : undefined
  const { resumption } = stream
  session.sendText(
    writeElement(
      'enabled',
      resumption === undefined ? { xmlns } : { xmlns, id: resumption.id, resume: 'true', max },
      '',
    ),
  )
  // From here on it is counted.
  session.addOutlet(stream)
  return true
}

/** The client wants to know what has been handled: all that it sent before this, which is done by now. */
function answer(stream: ManagedStream | undefined): true | undefined {
  if (stream === undefined) return undefined
  const { session, handled } = stream
  // What would be lost with this process is not handled.
  const durable = session.finished(true)
  if (durable === undefined) stream.tellHandled(handled)
  else stream.tellHandledAfter(durable, handled)
  stream.askIfNeeded()
  return true
}

function resume(
  streams: Streams,
  relay: Relay | undefined,
  session: StreamSession,
  stanza: Stanza,
): true | Promise<true> {
  const { xmlns = '', previd = '' } = stanza.attrs
  if (session.destroyed) {
    // It has ended while it waited.
    streams.find(session.username, previd)?.waits()
    return true
  }
  if (session.type !== 'c2s_unbound') return refuse(session, xmlns)
  const h = readCounter(stanza.attrs.h)
  if (h === undefined) return refuse(session, xmlns, 'bad-request')
  const stream = streams.find(session.username, previd)
  if (stream === undefined) return resumeElsewhere(streams, relay, session, previd, h, xmlns)
  const refusal = stream.refusalOf(h)
  if (refusal !== undefined) {
    // What waits for the client is kept for one that can count.
    session.close(refusal)
    return true
  }
  // It is told what has been handled, and sends the rest again: that has to be certain.
  const certain = stream.certainty()
  if (certain !== undefined) return certain.then(() => resume(streams, relay, session, stanza))
  streams.resume(stream, session, h, xmlns)
  return true
}

/** There is no such session here; another process may have it, or there was one once. */
async function resumeElsewhere(
  streams: Streams,
  relay: Relay | undefined,
  session: StreamSession,
  id: string,
  h: number,
  xmlns: string,
): Promise<true> {
  const resumed = (await relay?.resume(session, id, h, xmlns)) ?? false
  if (resumed instanceof StreamError) session.close(resumed)
  if (resumed !== false) return true
  let handled: number | undefined
  try {
    handled = await streams.former.take(session.username!, id)
  } catch (error) {
    session.log.debug('it could not be found out what an ended session had handled', { error })
  }
  return refuse(session, xmlns, 'item-not-found', handled)
}

function refuse(
  session: StreamSession,
  xmlns: string,
  condition: StanzaErrorCondition = 'unexpected-request',
  handled?: number,
): true {
  const h = handled === undefined ? undefined : `${handled}`
  session.sendText(
    writeElement('failed', { xmlns, h }, writeElement(condition, { xmlns: NS_STANZA_ERRORS }, '')),
  )
  return true
}
