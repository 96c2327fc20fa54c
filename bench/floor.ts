// The floor: a relay with the same sockets and the same hops as a server, that does no XML at all. What it
// costs is what Node's sockets cost as Node gives them.
//
// It lives on what it knows of the bench: logins are one fixed dialogue, a chunk a step, and afterwards every
// stanza of one kind has the same length, and the clients' numbers stand at the same places in it.
//
// node floor.js --c2s PORT --component PORT [--key FILE --certificate FILE]
import { readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { startFloor } from './floor/server.ts'

const text = { type: 'string' } as const
const { values } = parseArgs({ options: { c2s: text, component: text, key: text, certificate: text } })
const { key, certificate } = values
await startFloor({
  c2sPort: Number(values.c2s),
  componentPort: Number(values.component),
  tls: key && certificate ? { key: readFileSync(key), cert: readFileSync(certificate) } : undefined,
})
