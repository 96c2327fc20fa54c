// The kinds of traffic: what a client sends for one operation, and how its completion is recognised.
import { attribute, attributeAt } from './reading.ts'
import {
  ANSWER_END_MARK,
  ANSWER_MARK,
  answerPayload,
  chatMessage,
  delegatedRequest,
  ID_LENGTH,
  MESSAGE_MARK,
  PRESENCE_MARK,
  pageRequest,
  tellingPresence,
} from './stanzas.ts'

/** Bytes of a large payload. */
const LARGE_PAYLOAD = 20_000

/** A kind of traffic between `clients` clients. */
export interface Traffic {
  /** The stanza that client `sender` sends for the operation `id`. `jids` are the clients' full JIDs. */
  compose(jids: readonly string[], sender: number, id: string): string
  /** Whether the operation of client `sender` has to reach client `receiver`. */
  reaches(sender: number, receiver: number, clients: number): boolean
  /** In how many deliveries an operation is complete. */
  deliveries(clients: number): number
  /**
   * Where the id of the operation stands that this stanza delivers; -1 if it has nothing to do with any.
   * @param leastBytes that it has if it is right
   * @throws Error when it is a wrong answer, or an error
   */
  idAt(stanza: string, leastBytes: number): number
  /** Whether what comes are pages of the archive, which a {@link PageReader} reads. */
  readonly paged?: true
}

/** Client → server → component → server → client. */
const delegatedIq: Traffic = {
  compose: (_jids, _sender, id) => delegatedRequest(id),
  reaches: (sender, receiver) => sender === receiver,
  deliveries: () => 1,
  idAt: (stanza, leastBytes) =>
    operationId(stanza, '<iq', 'result', [ANSWER_MARK, ANSWER_END_MARK], leastBytes),
}

/** Client → server → the next client, at its full JID. */
const message: Traffic = {
  compose: (jids, sender, id) => chatMessage(jids[(sender + 1) % jids.length]!, id),
  reaches: (sender, receiver, clients) => receiver === (sender + 1) % clients,
  deliveries: () => 1,
  idAt: (stanza) => operationId(stanza, '<message', 'chat', [MESSAGE_MARK]),
}

/** Clients of the first half → server → those of the second, each to one. */
const messageToOtherHalf: Traffic = {
  ...message,
  compose: (jids, sender, id) => chatMessage(jids[otherHalf(sender, jids.length)]!, id),
  reaches: (sender, receiver, clients) => receiver === otherHalf(sender, clients),
}

/** One client of two → server → one of the other half; the others → server → one of their own. Each has one sender. */
const messageToBothHalves: Traffic = {
  ...message,
  compose: (jids, sender, id) => chatMessage(jids[eitherHalf(sender, jids.length)]!, id),
  reaches: (sender, receiver, clients) => receiver === eitherHalf(sender, clients),
}

/** The same with a payload of many elements, which cost the server much and the load little. */
const largeMessageToBothHalves: Traffic = {
  ...messageToBothHalves,
  compose: (jids, sender, id) => {
    return chatMessage(jids[eitherHalf(sender, jids.length)]!, id, answerPayload(LARGE_PAYLOAD))
  },
}

function otherHalf(client: number, clients: number): number {
  return (client + clients / 2) % clients
}

/** The even ones of each half to the even ones of the other, the odd ones in a ring. */
function eitherHalf(client: number, clients: number): number {
  const half = clients / 2
  const begin = client < half ? 0 : half
  const place = client - begin
  return place % 2 === 0 ? otherHalf(client, clients) : begin + ((place + 2) % half)
}

/** Client → server → all other clients. The server's copy for the sender is not waited for. */
const presence: Traffic = {
  compose: (_jids, _sender, id) => tellingPresence(id),
  reaches: (sender, receiver) => sender !== receiver,
  deliveries: (clients) => clients - 1,
  idAt: (stanza) => operationId(stanza, '<presence', undefined, [PRESENCE_MARK]),
}

/** Client → server → the last page of the client's archive, as many stanzas. */
const mamPage: Traffic = {
  compose: (_jids, _sender, id) => pageRequest(id),
  reaches: (sender, receiver) => sender === receiver,
  deliveries: () => 1,
  idAt: () => -1,
  paged: true,
}

/** By name, as the measuring process asks for them. */
export const TRAFFIC = {
  'delegated-iq': delegatedIq,
  message,
  'message-to-other-half': messageToOtherHalf,
  'message-to-both-halves': messageToBothHalves,
  'large-message-to-both-halves': largeMessageToBothHalves,
  presence,
  'mam-page': mamPage,
} as const satisfies Record<string, Traffic>

/** Names of {@link TRAFFIC}. */
export type TrafficName = keyof typeof TRAFFIC

function operationId(
  stanza: string,
  tag: string,
  type: string | undefined,
  marks: readonly string[],
  leastBytes = 0,
): number {
  const head = stanza.indexOf('>')
  const isType = attribute(stanza, 0, head, 'type')
  if (isType === 'error') throw new Error(`an error instead of an answer: ${stanza.slice(0, 1000)}`)
  // Other presence, and whatever a server asks or tells its clients, is no operation of ours.
  if (isType !== type || !stanza.startsWith(tag)) return -1
  const at = attributeAt(stanza, 0, head, 'id')
  if (at < 0 || !ID.test(stanza.slice(at, at + ID_LENGTH + 1))) return -1
  if (stanza.length < leastBytes || !marks.every((mark) => stanza.includes(mark, head))) {
    throw new Error(`a wrong answer: ${stanza.slice(0, 1000)}`)
  }
  return at
}

const ID = new RegExp(`^q\\d{${ID_LENGTH - 1}}['"]$`)
