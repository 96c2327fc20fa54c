// legate delegations: who manages which namespaces, and how their requests have ended.

import * as z from 'zod'
import { type DelegationFigures, delegationSchema } from '../admin/answers.ts'
import { prepareDomain } from '../jid.ts'
import { escapeUnsafe } from '../log-text.ts'
import { readConfig } from './config-file.ts'
import { CommandError, EXIT } from './failure.ts'
import { askServer } from './running-server.ts'
import { type Column, dateTime, duration, pairs, printJson, replyTime, table } from './text.ts'

/** @param hostName - only of this host. @returns the exit code */
export async function delegations(
  configFile: string | undefined,
  hostName: string | undefined,
  json: boolean,
): Promise<number> {
  const host = hostName === undefined ? undefined : prepareDomain(hostName)
  if (hostName !== undefined && host === undefined) throw new CommandError(`"${hostName}" is no domain`)
  const question = { command: 'delegations', host }
  const told = await askServer(await readConfig(configFile), question, z.array(delegationSchema))
  if (json) printJson(told)
  else
    for (const line of describeDelegations(told, host, process.stdout.columns, Date.now())) console.log(line)
  return EXIT.ok
}

/**
 * What is delegated, in lines.
 *
 * @param host - only its delegations are told
 * @param width - of the terminal, in characters; undefined if there is none
 * @param now - milliseconds since the epoch
 */
export function describeDelegations(
  told: readonly DelegationFigures[],
  host: string | undefined,
  width: number | undefined,
  now: number,
): string[] {
  if (told.length === 0) {
    return [`Nothing is delegated${host === undefined ? '' : ` by ${host}`}: see the option delegations.`]
  }
  const lines = asTable(told, now)
  // A line that the terminal breaks is hard to read: then one after the other.
  if (width !== undefined && lines.some((line) => line.length > width)) {
    return told.flatMap((figures, index) => [...(index === 0 ? [] : ['']), ...asPairs(figures, now)])
  }
  const refused = told.filter((figures) => refusedOf(figures) > 0)
  if (refused.length > 0) lines.push('', 'Refused, by the rule that the answer broke:')
  for (const figures of refused) {
    lines.push(escapeUnsafe(`  ${figures.host}  ${figures.namespace}: ${rulesOf(figures)}`))
  }
  return lines
}

const COLUMNS: readonly Column[] = [
  { head: 'HOST' },
  { head: 'NAMESPACE' },
  { head: 'MANAGER' },
  { head: 'CONNECTED FOR' },
  { head: 'PENDING', align: 'right' },
  { head: 'FORWARDED', align: 'right' },
  { head: 'ANSWERED', align: 'right' },
  { head: 'FAILED', align: 'right' },
  { head: 'REFUSED', align: 'right' },
  { head: 'TIMED OUT', align: 'right' },
  { head: 'UNAVAILABLE', align: 'right' },
  { head: 'MEDIAN', align: 'right' },
  { head: '99 %', align: 'right' },
]

function asTable(told: readonly DelegationFigures[], now: number): string[] {
  return table(
    COLUMNS,
    told.map((figures) => [
      figures.host,
      figures.namespace,
      figures.manager,
      connected(figures, now),
      ...[figures.pending, figures.forwarded, figures.answered, figures.failed].map(String),
      ...[refusedOf(figures), figures.timedOut, figures.unavailable].map(String),
      replyTime(figures.replyMs.median),
      replyTime(figures.replyMs.p99),
    ]),
  )
}

function asPairs(figures: DelegationFigures, now: number): string[] {
  const { connectedSince, replyMs } = figures
  const since = connectedSince === undefined ? '' : ` (since ${dateTime(connectedSince)})`
  const refused = refusedOf(figures)
  return [
    escapeUnsafe(`${figures.host}  ${figures.namespace}`),
    ...pairs([
      ['  manager', figures.manager],
      ['  connected for', connected(figures, now) + since],
      ['  pending', String(figures.pending)],
      ['  forwarded', String(figures.forwarded)],
      ['  answered', String(figures.answered)],
      ['  failed', String(figures.failed)],
      ['  refused', refused === 0 ? '0' : `${refused}: ${rulesOf(figures)}`],
      ['  timed out', String(figures.timedOut)],
      ['  unavailable', String(figures.unavailable)],
      ['  reply time', `median ${replyTime(replyMs.median)}, 99 % within ${replyTime(replyMs.p99)}`],
    ]),
  ]
}

function connected({ connections, connectedSince }: DelegationFigures, now: number): string {
  if (connections === 0) return 'not connected'
  const time = connectedSince === undefined ? 'connected' : duration(now - connectedSince)
  return connections === 1 ? time : `${time} (${connections} connections)`
}

function refusedOf({ refused }: DelegationFigures): number {
  return Object.values(refused).reduce((sum, count) => sum + count, 0)
}

function rulesOf({ refused }: DelegationFigures): string {
  const rules = Object.entries(refused).filter(([, count]) => count > 0)
  return rules.map(([rule, count]) => `${count} ${rule}`).join(', ')
}
