/** The client library, loaded when Redis is first needed: a server that needs none is smaller by 20 MB. */

import { createRequire } from 'node:module'

type Ioredis = typeof import('ioredis')

/** @returns what the package `ioredis` exports */
export function ioredis(): Ioredis {
  return createRequire(import.meta.url)('ioredis') as Ioredis
}
