// How clients log in at the floor: the sentences of the bench's own clients, told apart by their first letters, get
// fixed answers.
import type { Socket } from 'node:net'
import { type SecureContext, TLSSocket } from 'node:tls'
import { FLOOR_STREAM } from '../load/client.ts'
import { HOST, userName } from '../load/stanzas.ts'
import type { Relay } from './relay.ts'

const HEADER = `<?xml version='1.0'?><stream:stream id='${FLOOR_STREAM}' from='${HOST}' version='1.0'>`
const FEATURES = `${HEADER}<stream:features></stream:features>`
const PROCEED = `<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>`
const SASL = 'urn:ietf:params:xml:ns:xmpp-sasl'
const SUCCESS = `<success xmlns='${SASL}'/>`
/** Of the length that real ones have. It proves nothing, and clients know that. */
const SCRAM_SUCCESS = `<success xmlns='${SASL}'>${Buffer.from(`v=${'A'.repeat(28)}`).toString('base64')}</success>`
const SCRAM_CHALLENGE = `the-floor,s=${'A'.repeat(24)},i=4096`
const CLIENT_LETTER = userName(0)[0]

/** Greets a client, and leaves it to the relay when it is logged in. */
export function serveClient(relay: Relay, plain: Socket, secureContext: SecureContext | undefined): void {
  let socket = plain
  let user = ''
  let jid = ''
  const answer = (chunk: Buffer) => {
    const text = chunk.toString('latin1')
    switch (text.charCodeAt(1)) {
      case 0x3f: // <?xml
        socket.write(FEATURES)
        break
      case 0x73: // <starttls
        socket.off('data', answer)
        socket.write(PROCEED)
        socket = new TLSSocket(socket, { isServer: true, secureContext })
        socket.on('error', () => socket.destroy())
        socket.on('data', answer)
        break
      case 0x61: // <auth
        if (text.includes('PLAIN')) {
          user = base64In(text).split('\0')[1]!
          socket.write(SUCCESS)
        } else {
          const [, name, nonce] = /n=(\w+),r=(.*)/.exec(base64In(text))!
          user = name!
          const challenge = Buffer.from(`r=${nonce}${SCRAM_CHALLENGE}`, 'latin1').toString('base64')
          socket.write(`<challenge xmlns='${SASL}'>${challenge}</challenge>`)
        }
        break
      case 0x72: // <response
        socket.write(SCRAM_SUCCESS)
        break
      case 0x69: {
        // <iq: the resource
        const resource = text.slice(text.indexOf('<resource>') + 10, text.indexOf('</resource>'))
        jid = `${user}@${HOST}/${resource}`
        socket.write(`<iq type='result' id='bind'><bind><jid>${jid}</jid></bind></iq>`)
        break
      }
      default: // <presence/> and a ping
        socket.off('data', answer)
        // Accounts beside the clients' have names that begin with another letter; nobody writes to them.
        relay.serveClient(socket, jid, user[0] === CLIENT_LETTER ? Number(user.slice(1)) : undefined)
    }
  }
  socket.setNoDelay(true)
  socket.on('error', () => socket.destroy())
  socket.on('data', answer)
}

function base64In(text: string): string {
  return Buffer.from(text.slice(text.indexOf('>') + 1, text.lastIndexOf('<')), 'base64').toString('latin1')
}
