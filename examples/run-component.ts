/** Runs a component of these examples as a program: its options, what happens to it, its end. */

import { realpathSync } from 'node:fs'
import { basename } from 'node:path'
import { pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'
import type { Component, ComponentOptions } from '@xmpp/component'
import type { DelegationManager } from '../manager/index.ts'

/** A component that is not started yet, and what it manages. */
export interface Service {
  readonly entity: Component
  readonly manager: DelegationManager
}

/** Whether a module is what Node was told to run. @param url - its `import.meta.url` */
export function isProgram(url: string): boolean {
  const program = process.argv[1]
  return program !== undefined && url === pathToFileURL(realpathSync(program)).href
}

const USAGE = `[--host 127.0.0.1] [--port 5347] [--domain notes.localhost] [--secret secret] [--for localhost]
or, in the environment: COMPONENT_HOST, COMPONENT_PORT, COMPONENT_DOMAIN, COMPONENT_SECRET, COMPONENT_FOR
--for names the hosts that may delegate, with commas between them; the default is the domain above its own`

/** Runs a service until SIGINT or SIGTERM. */
export async function runComponent(
  create: (options: ComponentOptions, hosts: string[]) => Service,
): Promise<void> {
  try {
    const { service, domain, password, hosts } = readOptions()
    const { entity, manager } = create({ service, domain, password }, hosts)
    tellWhatHappens(entity, manager, service, domain)
    for (const signal of ['SIGINT', 'SIGTERM'] as const) {
      process.once(signal, () => {
        entity.reconnect.stop()
        entity.stop().finally(() => process.exit(0))
      })
    }
    // A failure has been told of, and is tried again.
    await entity.start().catch(() => {})
  } catch (error) {
    console.error(error instanceof Error ? error.message : error)
    console.error(usage())
    process.exit(1)
  }
}

function usage(): string {
  return `${basename(process.argv[1] ?? '')} ${USAGE}`
}

function readOptions(): ComponentOptions & { hosts: string[] } {
  const { values } = parseArgs({
    options: {
      host: { type: 'string', default: process.env['COMPONENT_HOST'] ?? '127.0.0.1' },
      port: { type: 'string', default: process.env['COMPONENT_PORT'] ?? '5347' },
      domain: { type: 'string', default: process.env['COMPONENT_DOMAIN'] ?? 'notes.localhost' },
      secret: { type: 'string', default: process.env['COMPONENT_SECRET'] ?? 'secret' },
      for: { type: 'string', default: process.env['COMPONENT_FOR'] },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) {
    console.log(usage())
    process.exit(0)
  }
  const above = values.domain.slice(values.domain.indexOf('.') + 1)
  const hosts = (values.for ?? above).split(',').map((host) => host.trim())
  const service = `xmpp://${values.host}:${values.port}`
  return { service, domain: values.domain, password: values.secret, hosts }
}

function tellWhatHappens(
  entity: Component,
  manager: DelegationManager,
  service: string,
  domain: string,
): void {
  let lastFailure = ''
  entity.on('online', () => {
    lastFailure = ''
    console.log(`connected to ${service} as ${domain}`)
  })
  entity.on('error', (failure: Error & { code?: string; condition?: string }) => {
    if (failure.condition === 'not-authorized' || failure.condition === 'host-unknown') {
      console.error(`${service} refused: ${failure.message}`)
      console.error(`Does its configuration have: Component "${domain}" and this component_secret?`)
      process.exit(1)
    }
    const reason = failure.message || failure.code || failure.name
    if (reason !== lastFailure) console.error(`${service}: ${reason}; trying again every second`)
    lastFailure = reason
  })
  manager.on('grants', (host, grants) => {
    // `online` comes a moment after the first stanza.
    for (const namespace of grants.keys()) {
      setImmediate(() => console.log(`manages ${namespace} for ${host}`))
    }
  })
}
