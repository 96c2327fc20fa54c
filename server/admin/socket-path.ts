/** Where the socket of the admin channel is, and a name for it that the system takes. */

import { closeSync, constants, openSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { SOCKET_NAME } from './protocol.ts'

/** Bytes of a path in `sockaddr_un`, without its closing zero: 108 on Linux, 104 elsewhere. */
const LONGEST = process.platform === 'linux' ? 107 : 103

/** A path that the system takes, for as long as it is held. */
export interface HeldPath {
  readonly path: string
  release(): void
}

/** The socket of the server that has this data folder. */
export function socketPathOf(dataPath: string): string {
  return join(dataPath, SOCKET_NAME)
}

/**
 * A socket's path in a form that is short enough: Linux also reaches its folder by an open descriptor.
 *
 * @throws Error if the folder is not there, or if the path is too long on a system without such a form
 */
export function holdPath(path: string): HeldPath {
  const bytes = Buffer.byteLength(path)
  if (bytes <= LONGEST) return { path, release() {} }
  if (process.platform !== 'linux') {
    throw new Error(
      `the path ${path} has ${bytes} bytes, and a socket's may have ${LONGEST}; choose a shorter data_path`,
    )
  }
  const folder = openSync(dirname(path), constants.O_RDONLY | constants.O_DIRECTORY)
  return { path: `/proc/self/fd/${folder}/${SOCKET_NAME}`, release: () => closeSync(folder) }
}
