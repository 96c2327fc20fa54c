/** Errors of Redis in the operator's words. */

import { StorageError } from './types.ts'

/** What begins an answer of Redis by which it says that it can not do it now. Nothing was done. */
const NOT_NOW =
  /^(LOADING|MASTERDOWN|CLUSTERDOWN|READONLY|TRYAGAIN|MOVED|ASK|NOSCRIPT|NOREPLICAS|BUSY|UNBLOCKED|FAILOVER)\b/
const NOT_ALLOWED = /^(NOAUTH|WRONGPASS|NOPERM|ERR AUTH)\b/
/** ioredis's own, and the network's: there is no answer. */
const NO_ANSWER =
  /timed? ?out|Connection is closed|isn't writeable|isn't ready|aborted|max retries|Cluster is ended|redirections|startup nodes|slots cache/i
const NETWORK = /^(ECONN|EPIPE|ETIMEDOUT|EHOST|ENET|ENOTFOUND|EAI_AGAIN|ENOENT)/

/**
 * @param redis where Redis is, for people
 * @param why what the connection knows of its being away
 */
export function explainRedis(
  error: unknown,
  act: 'read' | 'write',
  redis: string,
  why: string | undefined,
): StorageError {
  if (error instanceof StorageError) return error
  const { message, code } = error as { message?: string; code?: unknown }
  const text = message ?? String(error)
  const can = `can not ${act} in Redis (${redis})`
  if (NOT_NOW.test(text)) {
    return new StorageError('unavailable', `${can} now: ${text}. Nothing was changed; try again later`, error)
  }
  if (text.startsWith('OOM')) {
    return new StorageError('disk-full', `${can}: its memory is full. Give it more (maxmemory)`, error)
  }
  if (text.startsWith('MISCONF')) {
    return new StorageError('not-writable', `${can}: it can not save to its disk (${text})`, error)
  }
  if (NOT_ALLOWED.test(text)) {
    return new StorageError(
      'not-writable',
      `${can}: ${text}. Set redis.username and redis.password to a user that may read and write`,
      error,
    )
  }
  if (NO_ANSWER.test(text) || NETWORK.test(String(code))) {
    const maybe = act === 'write' && !/isn't (writeable|ready)/.test(text)
    return new StorageError(
      'unavailable',
      `${can} now: ${why ?? text}.${maybe ? ' Whether the change was made is not known.' : ''} Try again later`,
      error,
    )
  }
  return new StorageError('failed', `${can}: ${text}`, error)
}
