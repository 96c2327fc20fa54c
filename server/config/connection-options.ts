// The options `ssl` and `limits`: what is inside of them.

import * as z from 'zod'
import { emptyAsTable, list, table, text, word } from './kinds.ts'

/** Prosody's key files and TLS settings; what is not named here is passed over. */
export const ssl = z.preprocess(
  emptyAsTable,
  z.looseObject(
    {
      key: word('a file name').optional(),
      certificate: word('a file name').optional(),
      password: text().optional(),
      protocol: text('a protocol such as "tlsv1_2+"').optional(),
      ciphers: z
        .union([text(), list(text(), 'ciphers')], { error: 'must be text or a list of text' })
        .optional(),
      dhparam: word('a file name').optional(),
      curve: text('the name of a curve').optional(),
      curveslist: list(text('the name of a curve'), 'names of curves').optional(),
      cafile: word('a file name').optional(),
      capath: word('a folder').optional(),
      options: z
        .union([list(text(), 'options'), z.record(z.string(), z.union([z.boolean(), z.string()]))], {
          error: 'must be a list of options, or a table such as { cipher_server_preference = true }',
        })
        .optional(),
      verify: list(text(), 'ways to verify').optional(),
    },
    { error: 'must be a table such as { key = "example.com.key"; certificate = "example.com.crt" }' },
  ),
)

const RATE_UNITS: Record<string, number> = { b: 1, k: 1e3, m: 1e6, g: 1e9, t: 1e12 }

/** How fast one kind of connection may send. */
export interface RateLimit {
  /** Bytes a second. */
  rate: number
  /** Seconds for which twice the rate may be saved up. */
  burst: number
}

const rateLimit = z.preprocess(
  emptyAsTable,
  z.object(
    {
      rate: z.unknown().transform((value, context): number => {
        const [, amount, unit] =
          (typeof value === 'string' && /^(\d+) ?([bkmgt])[^/]*\/s$/i.exec(value)) || []
        const factor = RATE_UNITS[unit?.toLowerCase() ?? '']
        if (amount !== undefined && factor !== undefined && Number(amount) > 0) return Number(amount) * factor
        context.addIssue({ code: 'custom', message: 'must be a rate such as "10kb/s"' })
        return z.NEVER
      }),
      burst: z
        .unknown()
        .transform((value, context): number => {
          const seconds =
            typeof value === 'string' ? Number(/^(\d+) ?s?$/.exec(value)?.[1] ?? Number.NaN) : value
          if (typeof seconds === 'number' && seconds > 0) return seconds
          context.addIssue({ code: 'custom', message: 'must be a time such as "2s"' })
          return z.NEVER
        })
        .default(2),
    },
    { error: 'must be a table such as { rate = "10kb/s"; burst = "2s" }' },
  ),
)

/** Schema of `limits`: by kind of connection. */
export const rateLimits = table(rateLimit, 'a table such as { c2s = { rate = "10kb/s" } }')

/** Schema of `network_settings`: what of Prosody's table has an effect. */
export const networkSettings = z.preprocess(
  emptyAsTable,
  z.looseObject(
    {
      read_timeout: z
        .number({ error: 'must be a number of seconds' })
        .min(1, {
          error: 'must be a number of seconds, at least 1',
        })
        .optional(),
    },
    { error: 'must be a table such as { read_timeout = 840 }' },
  ),
)
