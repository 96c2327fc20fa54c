/**
 * `legate/manager`: makes a component of `@xmpp/component` the managing entity of delegated namespaces
 * (XEP-0355), on Legate or any server that speaks `urn:xmpp:delegation:2`.
 *
 * ```ts
 * const entity = component({ service: 'xmpp://127.0.0.1:5347', domain: 'notes.capulet.lit', password })
 * const manager = createManager(entity, { hosts: ['capulet.lit'] })
 * manager.handle('urn:example:notes', ({ account, own }) => {
 *   if (!own) throw new StanzaError('forbidden')
 *   return xml('notes', { xmlns: 'urn:example:notes' }, ...notesOf(account))
 * })
 * await entity.start()
 * await manager.granted('urn:example:notes')
 * ```
 */

export {
  STANZA_ERROR_TYPES,
  StanzaError,
  type StanzaErrorCondition,
  type StanzaErrorType,
} from '../server/stanza/errors.ts'
export type { DiscoIdentity, NestedDisco } from './disco.ts'
export type { ManagerEntity } from './entity.ts'
export type { Grant } from './grants.ts'
export { createManager, DelegationManager, type ManagerEvents } from './manager.ts'
export type { ManagerFault, ManagerOptions, NamespaceHandler } from './options.ts'
export type { AccountJid, AskerJid, DelegatedRequest } from './request.ts'
