// Parts of what `legate status` tells, of one process or of several.

import type { LoggedProblem, ServerStatus } from '../admin/answers.ts'
import { escapeUnsafe } from '../log-text.ts'
import { dateTime, duration, table } from './text.ts'

/** One line each, with what they were and when. */
export function loggedLines(problems: readonly LoggedProblem[]): string[] {
  return problems.map(({ time, level, text }) => {
    const label = level === 'warn' ? 'warning' : 'error'
    return `  ${dateTime(time)}  ${label.padEnd(7)}  ${escapeUnsafe(text)}`
  })
}

/** Where it listens, in words. */
export function listeningOn({ listening }: Pick<ServerStatus, 'listening'>): string {
  return (
    listening.map(({ service, address, port }) => `${service} ${addressOf(address, port)}`).join(', ') || '-'
  )
}

function addressOf(address: string, port: number): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`
}

/** A table of hosts. */
export function hostTable(hosts: ServerStatus['hosts']): string[] {
  return table(
    [
      { head: 'HOST' },
      { head: 'ACCOUNTS ONLINE', align: 'right' },
      { head: 'SESSIONS', align: 'right' },
      { head: 'NOT YET BOUND', align: 'right' },
    ],
    hosts.map(({ name, accounts, bound, authenticated }) => [
      name,
      String(accounts),
      String(bound),
      String(authenticated),
    ]),
  )
}

/** A table of components. */
export function componentTable(components: ServerStatus['components'], now: number): string[] {
  return table(
    [{ head: 'COMPONENT' }, { head: 'STATE' }],
    components.map(({ name, external, connections }) => [name, stateOf(external, connections, now)]),
  )
}

function stateOf(
  external: boolean,
  connections: ServerStatus['components'][number]['connections'],
  now: number,
): string {
  if (!external) return 'part of the server'
  if (connections.length === 0) return 'not connected'
  const since = Math.min(...connections.map((connection) => connection.since))
  const from = [...new Set(connections.map(({ address }) => address))].join(', ')
  const count = connections.length === 1 ? '' : `, ${connections.length} connections`
  return `connected for ${duration(now - since)}${count}, from ${from}`
}
