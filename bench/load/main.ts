// The load process: does what it is asked over IPC, until the channel closes.
import type { LoadReply, LoadRequest } from './requests.ts'
import { LoadWorker } from './worker.ts'

const worker = new LoadWorker()

async function handle({ request, with: take }: LoadRequest): Promise<LoadReply> {
  try {
    return { gives: await worker.ask(request, take) }
  } catch (error) {
    return { error: error instanceof Error ? error.message : String(error) }
  }
}

process.on('message', (message) => {
  void handle(message as LoadRequest).then((reply) => process.send?.(reply))
})
process.on('disconnect', () => process.exit(0))
process.on('SIGTERM', () => process.exit(0))
