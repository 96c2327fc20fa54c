// The option `redis`: where Redis is and how to log in to it, checked, and as settings of a connection.

import { resolve } from 'node:path'
import * as z from 'zod'
import { emptyAsTable, flag, integer, isTable, sequenceOf, text, word } from '../config/kinds.ts'

/** Where one server of Redis listens. */
export interface RedisAddress {
  readonly host: string
  readonly port: number
}

/** TLS towards Redis; the file names are relative to the configuration. */
export interface RedisTls {
  readonly cafile?: string | undefined
  readonly certificate?: string | undefined
  readonly key?: string | undefined
  /** Passphrase of the key. */
  readonly password?: string | undefined
  readonly servername?: string | undefined
}

/** Where Redis is: one server, the master that sentinels know, or a Redis Cluster. */
export type RedisPlace =
  | ({ readonly kind: 'single' } & RedisAddress)
  | { readonly kind: 'socket'; readonly path: string }
  | { readonly kind: 'sentinel'; readonly sentinels: readonly RedisAddress[]; readonly master: string }
  | { readonly kind: 'cluster'; readonly nodes: readonly RedisAddress[] }

/** The option `redis`, checked. */
export interface RedisOption {
  readonly place: RedisPlace
  readonly username?: string | undefined
  readonly password?: string | undefined
  readonly sentinelUsername?: string | undefined
  readonly sentinelPassword?: string | undefined
  readonly tls?: RedisTls | undefined
  readonly db: number
  /** What every key begins with. */
  readonly prefix: string
  /** Replicas that must have a write before it is acknowledged. */
  readonly waitReplicas: number
}

/** What a connection is opened with. */
export interface RedisSettings extends RedisOption {
  /** The folder that file names are relative to. */
  readonly directory: string
}

const EXAMPLE = 'redis = { url = "redis://127.0.0.1:6379" }'
const PLACES = ['url', 'sentinels', 'cluster'] as const
const SENTINEL_PORT = 26379
const REDIS_PORT = 6379

/** Says which keys a table may have, where it has another. */
function keysAre(known: readonly string[], otherwise: string) {
  return (issue: { code?: string; keys?: readonly string[] }) =>
    issue.code === 'unrecognized_keys'
      ? `has the unknown key ${(issue.keys ?? []).map((key) => JSON.stringify(key.slice(0, 60))).join(', ')}; it may have ${known.join(', ')}`
      : otherwise
}

function address(port: number) {
  return z
    .strictObject(
      { host: word('a host name or IP address'), port: integer(1, 65535).default(port) },
      { error: keysAre(['host', 'port'], `must be a table such as { host = "127.0.0.1", port = ${port} }`) },
    )
    .readonly()
}

/** A sequence of addresses; in Lua the table may have names beside it. */
function addresses(value: unknown, port: number, context: z.core.$RefinementCtx): RedisAddress[] {
  const found: RedisAddress[] = []
  for (const [index, item] of sequenceOf(value).entries()) {
    const parsed = address(port).safeParse(item)
    if (parsed.success) found.push(parsed.data)
    else {
      for (const { message, path } of parsed.error.issues) {
        context.addIssue({ code: 'custom', message, path: [index, ...path] })
      }
    }
  }
  return found
}

const sentinels = z.unknown().transform((value, context) => {
  const nodes = addresses(value, SENTINEL_PORT, context)
  const name = isTable(value) || Array.isArray(value) ? (value as { name?: unknown }).name : undefined
  const wrong = (message: string) => context.addIssue({ code: 'custom', message })
  if (sequenceOf(value).length === 0) {
    wrong(`must be a list such as { { host = "10.0.0.1", port = ${SENTINEL_PORT} }, name = "mymaster" }`)
  } else if (typeof name !== 'string' || name === '') {
    wrong('needs the name of the master, as sentinel.conf has it: { { host = … }, name = "mymaster" }')
  }
  const others = isTable(value)
    ? Object.keys(value).filter((key) => key !== 'name' && !/^\d+$/.test(key))
    : []
  if (others.length > 0)
    wrong(`has the unknown key ${JSON.stringify(others[0])}; beside sentinels it may have name`)
  return { nodes, name: String(name) }
})

const clusterNodes = z.unknown().transform((value, context) => {
  const nodes = addresses(value, REDIS_PORT, context)
  if (!Array.isArray(value) || value.length === 0) {
    context.addIssue({
      code: 'custom',
      message: `must be a list of nodes such as { { host = "10.0.0.1", port = ${REDIS_PORT} } }`,
    })
  }
  return nodes
})

const TLS_KEYS = ['cafile', 'certificate', 'key', 'password', 'servername']
const TLS_FORM = 'must be true, or a table such as { cafile = "redis-ca.crt" }'

const tls = z.preprocess(
  (value) => (value === true ? {} : emptyAsTable(value)),
  z
    .union([
      flag().refine((value) => !value, { error: TLS_FORM }),
      z
        .strictObject(
          {
            cafile: word('a file name').optional(),
            certificate: word('a file name').optional(),
            key: word('a file name').optional(),
            password: text().optional(),
            servername: word('a host name').optional(),
          },
          { error: keysAre(TLS_KEYS, TLS_FORM) },
        )
        .refine(({ key, certificate }) => (key === undefined) === (certificate === undefined), {
          error: 'needs both key and certificate, or neither',
        }),
    ])
    .transform((value) => (typeof value === 'boolean' ? undefined : value)),
)

interface ReadUrl {
  readonly place: RedisPlace
  readonly secure: boolean
  readonly username?: string
  readonly password?: string
  readonly db?: number
}

/** What a URL says; undefined if it is none of Redis. */
function readUrl(url: string): ReadUrl | undefined {
  if (url.startsWith('/')) return { place: { kind: 'socket', path: url }, secure: false }
  let parsed: URL
  try {
    parsed = new URL(url)
  } catch {
    return undefined
  }
  const credentials = {
    ...(parsed.username !== '' && { username: decodeURIComponent(parsed.username) }),
    ...(parsed.password !== '' && { password: decodeURIComponent(parsed.password) }),
  }
  if (parsed.protocol === 'unix:' && parsed.pathname.length > 1) {
    const path = decodeURIComponent(parsed.pathname)
    return { place: { kind: 'socket', path }, secure: false, ...credentials }
  }
  if (parsed.protocol !== 'redis:' && parsed.protocol !== 'rediss:') return undefined
  const [, db] = /^\/(\d*)$/.exec(parsed.pathname === '' ? '/' : parsed.pathname) ?? []
  if (db === undefined || parsed.hostname === '') return undefined
  const host = parsed.hostname.replace(/^\[(.*)\]$/, '$1')
  const port = parsed.port === '' ? REDIS_PORT : Number(parsed.port)
  return {
    place: { kind: 'single', host, port },
    secure: parsed.protocol === 'rediss:',
    ...(db !== '' && { db: Number(db) }),
    ...credentials,
  }
}

const URL_FORM =
  'must be a URL such as "redis://127.0.0.1:6379/0", "rediss://redis.example.org:6379" (with TLS), or ' +
  '"unix:///run/redis/redis.sock"'

const shape = {
  url: word('a URL').optional(),
  sentinels: sentinels.optional(),
  cluster: clusterNodes.optional(),
  username: text().optional(),
  password: text().optional(),
  sentinel_username: text().optional(),
  sentinel_password: text().optional(),
  tls: tls.optional(),
  db: integer(0, 1_000_000).optional(),
  prefix: z
    .string({ error: 'must be text' })
    .regex(/^[A-Za-z0-9._:-]{1,64}$/, {
      error: 'must be 1 to 64 letters, digits, or any of . _ : - (such as "legate")',
    })
    .default('legate'),
  wait_replicas: integer(0, 100).default(0),
}

/** Schema of the option `redis`; reads as a {@link RedisOption}. */
export const redisOption = z.preprocess(
  emptyAsTable,
  z
    .strictObject(shape, { error: keysAre(Object.keys(shape), `must be a table such as ${EXAMPLE}`) })
    .transform((value, context): RedisOption => {
      const wrong = (message: string, ...path: string[]) => {
        context.addIssue({ code: 'custom', message, path })
        return z.NEVER
      }
      const named = PLACES.filter((place) => value[place] !== undefined)
      if (named.length === 0) return wrong(`needs one of url, sentinels and cluster: ${EXAMPLE}`)
      if (named.length > 1) {
        return wrong(
          `has ${named.join(' and ')}: only one of url, sentinels and cluster can say where Redis is`,
        )
      }
      const common = {
        username: value.username,
        password: value.password,
        sentinelUsername: value.sentinel_username,
        sentinelPassword: value.sentinel_password,
        tls: value.tls,
        db: value.db ?? 0,
        prefix: value.prefix,
        waitReplicas: value.wait_replicas,
      }
      if (common.sentinelPassword !== undefined && value.sentinels === undefined) {
        return wrong(
          'is only read with sentinels: the password of Redis itself is password',
          'sentinel_password',
        )
      }
      if (common.username !== undefined && common.password === undefined) {
        return wrong('needs a password for its username: password = FileLine("redis.password")')
      }
      if (value.sentinels !== undefined) {
        const { nodes, name } = value.sentinels
        return { ...common, place: { kind: 'sentinel', sentinels: nodes, master: name } }
      }
      if (value.cluster !== undefined) {
        if (common.db !== 0) return wrong('must be 0 or absent: a Redis Cluster has only one database', 'db')
        return { ...common, place: { kind: 'cluster', nodes: value.cluster } }
      }
      const url = readUrl(value.url ?? '')
      if (url === undefined) return wrong(URL_FORM, 'url')
      for (const name of ['username', 'password', 'db'] as const) {
        if (url[name] !== undefined && value[name] !== undefined) {
          return wrong(`has a ${name} in url and another as ${name}: keep one of them`)
        }
      }
      return {
        ...common,
        place: url.place,
        username: common.username ?? url.username,
        password: common.password ?? url.password,
        db: url.db ?? common.db,
        tls: common.tls ?? (url.secure ? {} : undefined),
      }
    }),
)

/** The files that TLS needs, absolute, by the name that the option has for them. */
export function tlsFiles({
  tls,
  directory,
}: RedisSettings): { name: 'cafile' | 'certificate' | 'key'; path: string }[] {
  return (['cafile', 'certificate', 'key'] as const).flatMap((name) => {
    const file = tls?.[name]
    return file === undefined ? [] : [{ name, path: resolve(directory, file) }]
  })
}

/** Where Redis is, in a few words for people; no secrets. */
export function describePlace(place: RedisPlace): string {
  const list = (nodes: readonly RedisAddress[]) => nodes.map(({ host, port }) => `${host}:${port}`).join(', ')
  switch (place.kind) {
    case 'single':
      return `${place.host}:${place.port}`
    case 'socket':
      return place.path
    case 'sentinel':
      return `the master "${place.master}" of the sentinels ${list(place.sentinels)}`
    case 'cluster':
      return `the cluster of ${list(place.nodes)}`
  }
}
