// What the stanzas of the bench look like, learned from one of each: lengths, and where numbers stand in them.

import {
  COMPONENT,
  chatMessage,
  clientJid,
  delegatedAnswer,
  delegatedRequest,
  HOST,
  operationId,
  readDigits,
  tellingPresence,
} from '../load/stanzas.ts'

const NUMBER_WIDTH = 4
const DELEGATION = 'urn:xmpp:delegation:2'
const SESSION_WIDTH = 8
const sampleId = operationId(0, 0, 0)
const sampleJid = clientJid(0)

/** What a request begins with on its way to the component. @param session is found again in the answer */
export function wrapperStart(session: number, jid: string): string {
  const id = String(session).padStart(SESSION_WIDTH, '0')
  return (
    `<iq type='set' id='${id}' from='${HOST}' to='${COMPONENT}'><delegation xmlns='${DELEGATION}'>` +
    `<forwarded xmlns='urn:xmpp:forward:0'><iq xmlns='jabber:client' from='${jid}' `
  )
}

/** What it ends with. */
export const WRAPPER_END = '</forwarded></delegation></iq>'

/** The number of a client, at the digits of its JID. */
export function numberAt(bytes: Buffer, at: number): number {
  return readDigits(bytes, at, at + NUMBER_WIDTH)
}

const sampleRequest = delegatedRequest(sampleId)
/** A client's request: what stands in the wrapper begins at `skip`; the id's first letter tells it from others. */
export const request = {
  length: sampleRequest.length,
  skip: '<iq '.length,
  idAt: sampleRequest.indexOf(sampleId),
}

const sampleMessage = chatMessage(sampleJid, sampleId)
/** A message: the number of whom it is for stands at `toAt`. */
export const message = { length: sampleMessage.length, toAt: sampleMessage.indexOf(sampleJid) + 1 }

const samplePresence = tellingPresence(sampleId)
/** Presence for the whole roster: `kindAt` is where its first attribute, `id`, begins, and `type` in all others. */
export const presence = {
  length: samplePresence.length,
  skip: '<presence '.length,
  kindAt: '<presence '.length,
}

const sampleAnswer = delegatedAnswer(
  { xmlns: DELEGATION, id: '0'.repeat(SESSION_WIDTH), server: HOST, innerId: sampleId, from: '', asker: '' },
  '',
)
const ANSWER_END = Buffer.from(WRAPPER_END)

/** The component's answer: the client gets what is between `from` and `to`. */
export class AnswerLayout {
  /** Known once one has been seen; 0 until then. */
  length = 0
  to = 0
  readonly from = sampleAnswer.indexOf('<iq xmlns')
  readonly numberFrom = sampleAnswer.indexOf('0')
  readonly numberTo = this.numberFrom + SESSION_WIDTH

  /** Looks at the answer that begins at `at`; whether it is there whole. */
  learn(bytes: Buffer, at: number): boolean {
    const end = bytes.indexOf(ANSWER_END, at)
    if (end < 0) return false
    this.to = end - at
    this.length = this.to + ANSWER_END.length
    return true
  }

  /** Whether an answer of the known length can end at `end`: it does not if payloads have another length now. */
  endsAt(bytes: Buffer, end: number): boolean {
    return bytes[end - 1] === 0x3e && bytes[end - 2] === 0x71 && bytes[end - 4] === 0x2f
  }
}
