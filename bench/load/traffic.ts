// The two kinds of traffic: what a client sends for one operation, and how its completion is recognised.
import { ANSWER_MARK, attribute, chatMessage, delegatedRequest, ID_LENGTH, MESSAGE_MARK } from './stanzas.ts'

/** A kind of traffic. `jids` are the clients' full JIDs. */
export interface Traffic {
  /** The stanza that client `sender` sends for the operation `id`. */
  compose(jids: readonly string[], sender: number, id: string): string
  /**
   * The id of the operation that this stanza completes; undefined if it has nothing to do with it.
   * @throws Error when it is a wrong answer, or an error
   */
  completes(text: string, start: number, end: number): string | undefined
}

/** Client → server → component → server → client. */
const delegatedIq: Traffic = {
  compose: (_jids, _sender, id) => delegatedRequest(id),
  completes(text, start, end) {
    return operation(text, start, end, '<iq', 'result', ANSWER_MARK)
  },
}

/** Client → server → the next client, at its full JID. */
const message: Traffic = {
  compose: (jids, sender, id) => chatMessage(jids[(sender + 1) % jids.length]!, id),
  completes(text, start, end) {
    return operation(text, start, end, '<message', 'chat', MESSAGE_MARK)
  },
}

/** By name, as the measuring process asks for them. */
export const TRAFFIC = { 'delegated-iq': delegatedIq, message } as const satisfies Record<string, Traffic>

/** Names of {@link TRAFFIC}. */
export type TrafficName = keyof typeof TRAFFIC

function operation(
  text: string,
  start: number,
  end: number,
  tag: string,
  type: string,
  mark: string,
): string | undefined {
  const head = text.indexOf('>', start)
  const isType = attribute(text, start, head, 'type')
  if (isType === 'error') throw new Error(`an error instead of an answer: ${text.slice(start, end)}`)
  // Presence, and whatever a server asks or tells its clients, is no operation of ours.
  if (isType !== type || !text.startsWith(tag, start)) return undefined
  const id = attribute(text, start, head, 'id')
  if (id === undefined || id.length !== ID_LENGTH) return undefined
  const at = text.indexOf(mark, head)
  if (at < 0 || at > end) throw new Error(`a wrong answer: ${text.slice(start, end)}`)
  return id
}
