// The options of a cluster: several processes that are one server.

import * as z from 'zod'
import { emptyAsTable, isTable, word } from '../config/kinds.ts'
import { type RedisOption, redisOption } from '../redis/options.ts'

export interface ClusterOption {
  /** Its own Redis; else that of the option `redis`. */
  readonly redis?: RedisOption | undefined
  /** What the process is called in logs and by `legate status`. */
  readonly name?: string | undefined
}

const FORM = 'must be a table such as { } or { redis = { url = "redis://127.0.0.1:6379" } }'

export const clusterOption = z.unknown().transform((given, context): ClusterOption => {
  const value = emptyAsTable(given)
  if (!isTable(value)) {
    context.addIssue({ code: 'custom', message: FORM })
    return z.NEVER
  }
  const parsed = z
    .strictObject(
      { redis: redisOption.optional(), name: word('a name').optional() },
      {
        error: (issue) =>
          issue.code === 'unrecognized_keys'
            ? `has the unknown key ${issue.keys.map((key) => JSON.stringify(key.slice(0, 60))).join(', ')}; it may have redis, name`
            : FORM,
      },
    )
    .safeParse(value)
  if (parsed.success) return parsed.data
  for (const { message, path } of parsed.error.issues) context.addIssue({ code: 'custom', message, path })
  return z.NEVER
})
