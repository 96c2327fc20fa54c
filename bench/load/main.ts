// The load process: does what it is asked over IPC, until the channel closes.
import { type Client, logIn } from './client.ts'
import { runClosedLoop } from './closed-loop.ts'
import { connectComponent } from './component.ts'
import type { LoadReply, LoadRequest, LoadRequests } from './requests.ts'
import { COMPONENT, HOST, PASSWORD, RESOURCE, SECRET, userName } from './stanzas.ts'

/** Logins at the same time, so that no server's queue of new connections overflows. */
const PARALLEL_LOGINS = 20

const clients: Client[] = []
const idle: Client[] = []

async function connect({ c2sPort, componentPort, clients: count }: LoadRequests['connect']['take']) {
  const component = await connectComponent(componentPort, { jid: COMPONENT, secret: SECRET })
  component.connection.onFailure = (error) => {
    throw error
  }
  for (let index = 0; index < count; index++) {
    clients.push(await logIn(c2sPort, account(index, RESOURCE)))
  }
  return null
}

async function sessions({ c2sPort, first, count, accounts }: LoadRequests['sessions']['take']) {
  let next = first
  const worker = async () => {
    while (next < first + count) {
      const number = next++
      const session = await logIn(c2sPort, account(number % accounts, `i${String(number).padStart(5, '0')}`))
      session.connection.onFailure = (error) => {
        throw error
      }
      idle.push(session)
    }
  }
  await Promise.all(Array.from({ length: PARALLEL_LOGINS }, worker))
  return null
}

function account(index: number, resource: string) {
  return { host: HOST, user: userName(index), password: PASSWORD, resource }
}

async function handle(message: LoadRequest): Promise<LoadReply> {
  try {
    switch (message.request) {
      case 'connect':
        return { gives: await connect(message.with) }
      case 'loop':
        return { gives: await runClosedLoop(clients, message.with) }
      case 'sessions':
        return { gives: await sessions(message.with) }
    }
  } catch (error) {
    return { error: error instanceof Error ? error.message : String(error) }
  }
}

process.on('message', (message) => {
  void handle(message as LoadRequest).then((reply) => process.send?.(reply))
})
process.on('disconnect', () => process.exit(0))
