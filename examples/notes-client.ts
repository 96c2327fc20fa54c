/**
 * A client for the notes of notes-service.ts: keeps a note if one is given, and lists what there is.
 * It is a client like any other, and knows nothing of that service.
 */

import { readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { client, jid, xml } from '@xmpp/client'
import { trustOnly } from './trust.ts'

const NS_NOTES = 'urn:example:notes'

const USAGE = `NOTES_PASSWORD=… notes-client JID [NOTE] [--service xmpp://127.0.0.1:5222] [--trust CERTIFICATE]
  --trust   a certificate (PEM) to trust, such as one of the server's own making`

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      service: { type: 'string', default: 'xmpp://127.0.0.1:5222' },
      trust: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  })
  const [address, note] = positionals
  const password = process.env['NOTES_PASSWORD']
  if (values.help) {
    console.log(USAGE)
    return
  }
  if (address === undefined || password === undefined) {
    throw new Error(`${address === undefined ? 'The JID' : 'NOTES_PASSWORD'} is missing.\n${USAGE}`)
  }
  if (values.trust !== undefined) trustOnly(readFileSync(values.trust, 'utf8'))

  const { local: username, domain } = jid(address)
  const xmpp = client({ service: values.service, domain, username, password })
  xmpp.reconnect.stop()
  xmpp.on('error', () => {}) // start() throws it
  await xmpp.start()
  try {
    if (note !== undefined) await xmpp.iqCaller.set(xml('note', { xmlns: NS_NOTES }, note))
    const notes = await xmpp.iqCaller.get(xml('notes', { xmlns: NS_NOTES }))
    for (const { attrs, children } of notes?.getChildren('note') ?? []) {
      console.log(`${attrs.id}. ${children.join('')}`)
    }
  } finally {
    await xmpp.stop()
  }
}

main().catch((error: Error & { code?: string }) => {
  console.error(error.message || error.code || error.name)
  process.exit(1)
})
