/** What the package exports: a server to embed, and everything that a plugin needs. */

export { default as xml, Element } from '@xmpp/xml'
export { type EndingSessions, type EndReason, endSessions } from './admin/end-sessions.ts'
export { type EndedAccount, noteEnd, openEndedAccounts } from './auth/ended-accounts.ts'
export { type LoginAttempt, LoginThrottle } from './auth/login-throttle.ts'
export {
  availableMechanisms,
  type ChannelBindings,
  type SaslExchange,
  type SaslFailure,
  type SaslStep,
  startExchange,
} from './auth/sasl.ts'
export type { ScramHash } from './auth/scram.ts'
export { UserError, type UserErrorCode, type Users } from './auth/users.ts'
export { WorkLimitError } from './auth/work-limit.ts'
export { bindResource, type ConflictPolicy, unbindResource } from './binding.ts'
export type { Member } from './cluster/bus.ts'
export type { Cluster } from './cluster/cluster.ts'
export { type RemoteConnection, RemotePeer, type RemoteResource } from './cluster/peers.ts'
export { ComponentConnections } from './component-connections.ts'
export {
  type Config,
  ConfigError,
  type ConfigProblem,
  configFromObject,
  type HostDeclaration,
  kinds,
  loadConfigFile,
  type OptionSpec,
  option,
  optionProblem,
  readOption,
  type ServerOptions,
} from './config/index.ts'
export { c2sOptions, componentOptions, coreOptions, delegationOptions } from './config/options.ts'
export { createServer } from './create.ts'
export type { EventPayload, EventTypes, SessionEvent } from './event-types.ts'
export type { AccountSessions, Host, HostType } from './host.ts'
export {
  bareOf,
  domainOf,
  joinJid,
  localOf,
  type PreparedJid,
  prepareDomain,
  prepareJid,
  prepareLocal,
  prepareResource,
  resourceOf,
} from './jid.ts'
export type { Logger } from './log.ts'
export {
  definePlugin,
  type Identity,
  type Module,
  type OptionSpecs,
  type OptionValues,
  type PluginCheck,
  type PluginDefinition,
} from './module.ts'
export type { TlsMaterial } from './net/certificates.ts'
export { Connection } from './net/connection.ts'
export { acceptTls } from './net/direct-tls.ts'
export { PluginError } from './plugin-files.ts'
export { randomText } from './random-text.ts'
export { RoomyMap, RoomySet } from './roomy-map.ts'
export type { StanzaEvent, StanzaKind, TargetKind } from './router.ts'
export { isStanzaName } from './router.ts'
export type { Server } from './server.ts'
export type { Origin, Peer, Resource, SessionType } from './session.ts'
export { emptyAttributes } from './stanza/attributes.ts'
export { endOfContent, endOfTag } from './stanza/cursor.ts'
export { appendDelay, withDelay } from './stanza/delay.ts'
export * from './stanza/errors.ts'
export {
  type FormField,
  type FormFieldType,
  type FormLayout,
  type FormOption,
  type FormReading,
  FormValues,
  formElement,
  rawFormValues,
  readForm,
} from './stanza/forms.ts'
export { type KeptStanza, keepStanza, restoreStanza } from './stanza/kept.ts'
export * from './stanza/namespaces.ts'
export { errorReply, mayAnswerWithError, reply } from './stanza/reply.ts'
export { standaloneText } from './stanza/standalone.ts'
export {
  type Attributes,
  type Child,
  nextAttribute,
  Stanza,
  writeAttributes,
  writeElement,
} from './stanza/stanza.ts'
export { escapeAttribute, escapeText, payloadAttributes, serialize } from './stanza/tree.ts'
export { isArchiveId, newArchiveId } from './storage/archive.ts'
export type {
  ArchiveEntry,
  ArchivePage,
  ArchiveQuery,
  ArchiveStore,
  KeyvalStore,
  MapStore,
  StorageDriver,
} from './storage/index.ts'
export { StreamError, type StreamErrorCondition } from './stream/errors.ts'
export { isStanzaText, Outlet, type Receipt } from './stream/outlet.ts'
export { priorityDuring, rankedAnew } from './stream/ranks.ts'
export { type StreamProfile, StreamSession } from './stream/session.ts'
export type { Outline, OutlineElement } from './stream/shapes.ts'
export type { StreamHeader, TokenizerLimits } from './stream/tokenizer.ts'
export { detached } from './text.ts'
export type { Timeout, TimerWheel } from './timers.ts'
