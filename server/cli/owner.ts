// Root does a command's work as the user whose data folder it is: a file of root's in there would lock the
// server out of it.

import { statSync } from 'node:fs'
import { userInfo } from 'node:os'

/**
 * Becomes the owner of a folder, for good, if this process is root's and the folder is there and is not.
 *
 * @returns the owner's name, if the process became somebody else
 */
export function becomeOwnerOf(folder: string): string | undefined {
  if (process.geteuid?.() !== 0) return undefined
  const owner = ownerOf(folder)
  if (owner === undefined || owner.uid === 0) return undefined
  const { initgroups } = process as { initgroups?: (user: number, group: number) => void }
  try {
    // Also the other groups of the user: a key of a certificate is often readable for one.
    initgroups?.(owner.uid, owner.gid)
  } catch {
    process.setgroups?.([owner.gid]) // a user without a name, as in a container
  }
  process.setgid?.(owner.gid)
  process.setuid?.(owner.uid)
  return nameOf(owner.uid)
}

/**
 * Does something as the owner of a folder, and goes on as who this process was: what it makes there is the owner's,
 * while files that the owner may not see can be read and written before and after.
 */
export async function asOwnerOf<T>(folder: string, act: () => Promise<T>): Promise<T> {
  const owner = process.geteuid?.() === 0 ? ownerOf(folder) : undefined
  if (owner === undefined || owner.uid === 0) return act()
  const group = process.getegid!()
  process.setegid!(owner.gid)
  process.seteuid!(owner.uid)
  try {
    return await act()
  } finally {
    process.seteuid!(0)
    process.setegid!(group)
  }
}

/** Tells root, who has made a data folder, that the server may not be able to use it. */
export function tellWhoseItIs(folder: string): void {
  if (process.geteuid?.() !== 0) return
  console.error(
    `The data folder ${folder} was made and belongs to root. If the server runs as another user, give it to ` +
      `that user: chown -R USER ${folder}`,
  )
}

function ownerOf(folder: string): { uid: number; gid: number } | undefined {
  try {
    return statSync(folder)
  } catch {
    return undefined
  }
}

function nameOf(uid: number): string {
  try {
    return userInfo().username
  } catch {
    return `uid ${uid}`
  }
}
