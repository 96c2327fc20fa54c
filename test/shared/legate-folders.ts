/** Folders with configurations for the command `legate`, removed after each test of a file. */

import { afterEach } from 'vitest'
import { LegateFolder } from './legate-command.ts'

/** @returns what makes a folder with a configuration */
export function legateFolders(): (config: string) => LegateFolder {
  const folders: LegateFolder[] = []
  afterEach(async () => {
    for (const folder of folders.splice(0)) await folder.remove()
  })
  return (config) => {
    const folder = new LegateFolder(config)
    folders.push(folder)
    return folder
  }
}
