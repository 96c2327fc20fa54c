/** Reading from all sockets into one buffer. */

import { Socket } from 'node:net'

/**
 * Told of the bytes that have come.
 *
 * @param chunk - valid until it returns
 */
type Reader = (this: Socket, chunk: Buffer) => void

/** As much as Node reads at a time. */
const SIZE = 1 << 16

// Node's option `onread` reads into a buffer that it is given, and calls back without the ways of a stream: for
// sockets that one connects, not for those that a server accepts. Those are given here what the option sets.
const BUFFER = symbolNamed('kBuffer')
const CALLBACK = symbolNamed('kBufferCb')

interface ReadableHandle {
  useUserBuffer?(buffer: Uint8Array): void
}

type Fields = Socket & { _handle?: ReadableHandle | null } & Record<symbol, unknown>

/**
 * Makes sockets share one buffer that their bytes are read into: a read costs no memory then. A Node whose sockets
 * are made otherwise gives each chunk a buffer of its own.
 *
 * @returns a function that is given each socket, connected and with nothing of it read yet
 */
export function makeSharedReading(reader: Reader): (socket: Socket) => void {
  const shared = Buffer.allocUnsafeSlow(SIZE)
  function callback(this: Socket, length: number): boolean {
    reader.call(this, shared.subarray(0, length))
    return true
  }
  return (socket) => {
    const fields = socket as Fields
    const handle = fields._handle
    if (BUFFER === undefined || CALLBACK === undefined || typeof handle?.useUserBuffer !== 'function') {
      socket.on('data', reader)
      return
    }
    handle.useUserBuffer(shared)
    fields[BUFFER] = shared
    fields[CALLBACK] = callback
  }
}

function symbolNamed(description: string): symbol | undefined {
  const options = { onread: { buffer: Buffer.alloc(1), callback: () => true } }
  // Not in the types of Node 20 for sockets that are not connected yet.
  const probe = new Socket(options as object)
  probe.destroy()
  return Object.getOwnPropertySymbols(probe).find((symbol) => symbol.description === description)
}
