/** What the processes of a cluster ask each other, so that a command to one of them is about all. */

import { hostname } from 'node:os'
import * as z from 'zod'
import type { Member } from '../cluster/bus.ts'
import type { Cluster } from '../cluster/cluster.ts'
import type { Server } from '../server.ts'
import { ChosenStorage } from '../storage/chosen.ts'
import { RedisStorage } from '../storage/redis.ts'
import {
  type ClusterMember,
  type ClusterStatus,
  countedDelegationSchema,
  type DelegationFigures,
  type EndedSessions,
  endedSchema,
  type MemberFigures,
  memberFiguresSchema,
  type OwnStatus,
} from './answers.ts'
import { countedAccounts, sumOfComponents, sumOfHosts } from './cluster-sums.ts'
import type { ServerProcessView } from './commands.ts'
import { delegationsOf } from './delegations.ts'
import { endSessions } from './end-sessions.ts'
import { mergedDelegations } from './merged-delegations.ts'
import { statusOf } from './status.ts'

const STATUS = 'cluster/status'
const DELEGATIONS = 'cluster/delegations'
const END_SESSIONS = 'cluster/end-sessions'
const RELOAD = 'cluster/reload'

/** Milliseconds for an answer. */
const ANSWER_MS = 2000

export const accountSchema = z.looseObject({
  host: z.string(),
  username: z.string(),
  reason: z.enum(['deleted', 'password']),
})

/** An account whose sessions are to end. */
type EndedAccount = z.infer<typeof accountSchema>

/**
 * Answers the other processes of the cluster, if there is one, from now on.
 *
 * @param reload - they want the configuration to be read again
 */
export function answerCluster(process: ServerProcessView, reload: () => void): void {
  const { server } = process
  const { cluster } = server
  if (cluster === undefined) return
  const { calls } = cluster
  calls.on(STATUS, async () => figuresOf(server, cluster, await statusOf(server, () => process.status())))
  calls.on(DELEGATIONS, () => delegationsOf(server))
  calls.on(END_SESSIONS, (account) => endSessionsHere(server, accountSchema.parse(account)))
  calls.on(RELOAD, (_, from) => {
    server.log.info('another process wants the configuration to be read again', { process: from.info.name })
    reload()
  })
}

/** All processes, and sums of what they tell. @param own - of this one */
export async function clusterStatus(
  server: Server,
  cluster: Cluster,
  own: OwnStatus,
): Promise<ClusterStatus> {
  const [answers, delegations] = await Promise.all([
    askAll(cluster, STATUS, undefined, memberFiguresSchema),
    delegationsOfAll(server).catch((error) => {
      server.log.error('the figures of delegation are missing', { error, internal: true })
      return []
    }),
  ])
  answers.set(cluster.self.id, figuresOf(server, cluster, own))
  const members = [...cluster.members.values()]
    .map((member) => describeMember(cluster, member, answers.get(member.id)))
    .sort(
      (one, other) => one.name.localeCompare(other.name, 'en', { numeric: true }) || one.since - other.since,
    )
  const figures = members.flatMap((member) => member.figures ?? [])
  return {
    self: cluster.self.id,
    members,
    hosts: sumOfHosts(figures),
    components: sumOfComponents(figures),
    unauthenticated: figures.reduce((sum, { status }) => sum + status.unauthenticated, 0),
    delegations,
  }
}

/** Every delegated namespace with the numbers of all processes. @throws AdminError if there is no such host */
export function allDelegationsOf(
  server: Server,
  host?: string,
): DelegationFigures[] | Promise<DelegationFigures[]> {
  // Whether there is the host.
  const own = delegationsOf(server, host)
  if (server.cluster === undefined) return own.map(({ replyTimes: _, ...figures }) => figures)
  return delegationsOfAll(server, host)
}

async function delegationsOfAll(server: Server, host?: string): Promise<DelegationFigures[]> {
  const own = delegationsOf(server)
  const answers = await askAll(server.cluster!, DELEGATIONS, undefined, z.array(countedDelegationSchema))
  return mergedDelegations([own, ...answers.values()]).filter(
    (figures) => host === undefined || figures.host === host,
  )
}

/** Ends the sessions of an account at all processes. */
export async function endSessionsEverywhere(server: Server, account: EndedAccount): Promise<EndedSessions> {
  const here = endSessionsHere(server, account)
  const { cluster } = server
  if (cluster === undefined) return here
  const answers = await askAll(cluster, END_SESSIONS, account, endedSchema)
  let { sessions } = here
  for (const answer of answers.values()) sessions += answer.sessions
  const silent = others(cluster).filter(({ id }) => !answers.has(id))
  return { sessions, silent: silent.map(({ info }) => info.name) }
}

/** Each process purges what its sessions have stored when they are gone: the last one leaves nothing. */
function endSessionsHere(server: Server, { host: name, username, reason }: EndedAccount): EndedSessions {
  const host = server.hosts.get(name)
  if (host === undefined) return { sessions: 0 }
  const { count, gone } = endSessions(server, host, username, reason)
  gone.catch((error) => host.log.error('what a deleted account has stored may be left', { error }))
  return { sessions: count }
}

/**
 * Tells other processes to read their configurations again.
 *
 * @param but - tags of those that have
 * @returns the names of those that are told
 */
export function tellReload(cluster: Cluster, but: readonly string[]): string[] {
  const told = others(cluster).filter(({ info }) => !but.includes(info.tag))
  const ids = told.map(({ id }) => id)
  cluster.calls.tell(ids, RELOAD, undefined)
  return told.map(({ info }) => info.name)
}

function others(cluster: Cluster): Member[] {
  return [...cluster.members.values()].filter(({ id }) => id !== cluster.self.id)
}

/** What others answer, as far as it is understood: they may be of another release. */
async function askAll<S extends z.ZodType>(
  cluster: Cluster,
  call: string,
  question: unknown,
  schema: S,
): Promise<Map<string, z.infer<S>>> {
  const ids = others(cluster).map(({ id }) => id)
  const answers = await cluster.calls.ask(ids, call, question, ANSWER_MS)
  const understood = new Map<string, z.infer<S>>()
  for (const [id, answer] of answers) {
    const read = schema.safeParse(answer)
    if (read.success) understood.set(id, read.data)
  }
  return understood
}

function figuresOf(server: Server, cluster: Cluster, status: OwnStatus): MemberFigures {
  const { connected, silentFor, commands, members } = cluster.state()
  return {
    machine: hostname(),
    status,
    countedAccounts: countedAccounts(server, cluster),
    redis: { connected, silentFor: Math.round(silentFor), commands },
    storage: storageState(server),
    queues: members
      .filter(({ member }) => member.id !== cluster.self.id)
      .map(({ member, unacknowledged, waitingBytes }) => ({ id: member.id, unacknowledged, waitingBytes })),
  }
}

function storageState({ storage }: Server): MemberFigures['storage'] {
  const redis = storage instanceof ChosenStorage ? storage.opened('redis') : undefined
  if (!(redis instanceof RedisStorage)) return undefined
  const { state, awayFor } = redis.connection
  return { state, awayFor }
}

function describeMember(cluster: Cluster, { id, info }: Member, figures?: MemberFigures): ClusterMember {
  const { name, pid, since, version } = info
  const isSelf = id === cluster.self.id
  const known = isSelf ? knownOf(figures!.status) : cluster.directory.counts({ id, info })
  return { id, name, process: pid, since: since * 1000, version, known, figures }
}

function knownOf({ hosts, components }: OwnStatus): ClusterMember['known'] {
  return {
    sessions: hosts.reduce((sum, { bound }) => sum + bound, 0),
    connections: components.reduce((sum, { connections }) => sum + connections.length, 0),
  }
}
