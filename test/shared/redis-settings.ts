/** What a configuration's `redis = {…}` comes to, for tests. */

import { parseOption } from '../../server/config/option-spec.ts'
import { type RedisSettings, redisOption } from '../../server/redis/index.ts'

/** @throws Error with what is wrong with it */
export function redisSettings(option: Record<string, unknown>): RedisSettings {
  const parsed = parseOption('redis', option, { schema: redisOption, description: '' })
  if ('problems' in parsed) throw new Error(parsed.problems.join('; '))
  return { ...parsed.value, directory: process.cwd() }
}
