// Free TCP ports on the loopback interface, for servers that tests and the bench start.
import { createServer, type Server } from 'node:net'

/**
 * Ports of 127.0.0.1 that were free a moment ago, all different. Between this call and the use of a port
 * somebody else may take it: callers that can tell should try again with others (see {@link retryPorts}).
 */
export async function freePorts(count: number): Promise<number[]> {
  // All are held at the same time, so that the kernel can not give one port twice.
  const holders = await Promise.all(Array.from({ length: count }, listenAnywhere))
  const ports = holders.map((holder) => (holder.address() as { port: number }).port)
  await Promise.all(holders.map((holder) => new Promise((resolve) => holder.close(resolve))))
  return ports
}

/** One free port of 127.0.0.1; see {@link freePorts}. */
export async function freePort(): Promise<number> {
  const [port] = await freePorts(1)
  return port!
}

/** What `attempt` of {@link retryPorts} throws when a port was taken by somebody else in the meantime. */
export class PortTaken extends Error {}

/**
 * Calls `attempt` with free ports, and again with others when it throws {@link PortTaken}.
 * @param count how many ports
 * @param tries how often before the error is let through
 */
export async function retryPorts<T>(
  count: number,
  attempt: (ports: number[]) => Promise<T>,
  tries = 5,
): Promise<T> {
  for (let left = tries; ; left--) {
    try {
      return await attempt(await freePorts(count))
    } catch (error) {
      if (!(error instanceof PortTaken) || left <= 1) throw error
    }
  }
}

function listenAnywhere(): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', reject)
    server.listen(0, '127.0.0.1', () => resolve(server))
  })
}
