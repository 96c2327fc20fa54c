/** Client mode, switched on and off by the configuration: while it is off, nothing of it is there. */

import type { Peer, Stanza } from '../../server/index.ts'
import type { ClientModule } from './client-delegations.ts'
import { ClientMode } from './client-mode.ts'
import type { ManagerListener, Registry } from './manager.ts'
import type { Delegation } from './table.ts'

export class ClientSwitch implements ManagerListener {
  private readonly module: ClientModule
  private readonly registry: Registry
  private readonly isConfigured: (namespace: string) => boolean
  private mode: ClientMode | undefined

  /** @param isConfigured - whether the configuration delegates a namespace */
  constructor(module: ClientModule, registry: Registry, isConfigured: (namespace: string) => boolean) {
    this.module = module
    this.registry = registry
    this.isConfigured = isConfigured
  }

  /** Does what the option says now. @throws what keeps the grants from being read */
  async follow(): Promise<void> {
    const { mode } = this
    if (this.module.options.delegation_client_mode) {
      if (mode !== undefined) await mode.reloaded()
      else await this.start()
    } else this.stop()
  }

  stop(): void {
    const { mode } = this
    this.mode = undefined
    this.registry.listeners.delete(this)
    mode?.stop()
  }

  /** The delegation by an account that a request falls under (U3). */
  delegationFor(stanza: Stanza): Delegation | undefined {
    return this.mode?.delegationFor(stanza)
  }

  connected(session: Peer, jid: string): void {
    this.mode?.connected(session, jid)
  }

  /** Its process tells it of the grants. */
  appeared(): void {}

  /** What waits for a manager that has left is the business of the requests (F7). */
  disconnected(): void {}

  private async start(): Promise<void> {
    const mode = new ClientMode(this.module, this.registry, this.isConfigured)
    this.mode = mode
    this.registry.listeners.add(this)
    try {
      await mode.start()
    } catch (error) {
      if (this.mode === mode) this.stop()
      throw error
    }
    // It may have been switched off while the grants were read.
    if (this.mode !== mode) mode.stop()
  }
}
