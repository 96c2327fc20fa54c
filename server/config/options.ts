// The options that the core, c2s, component and delegation read, by who reads them: Prosody's names, defaults
// and bounds. Names that Prosody does not have say so.

import * as z from 'zod'
import { clusterOption } from '../cluster/options.ts'
import { redisOption } from '../redis/options.ts'
import { STORAGE_KINDS } from '../storage/types.ts'
import { networkSettings, rateLimits, ssl } from './connection-options.ts'
import { flag, integer, isTable, jid, list, oneOf, period, portNumber, table, text, word } from './kinds.ts'
import { logOption } from './log-option.ts'
import { type OptionSpec, option } from './option-spec.ts'

export { type OptionSpec, option, readOption } from './option-spec.ts'

const STORAGE_LIST = STORAGE_KINDS.map((kind) => `"${kind}"`).join(', ')

const names = () => list(word('a name'), 'names')
const addresses = () => list(word('an IP address'), 'IP addresses')
const mechanisms = () => list(word('the name of a SASL mechanism'), 'names of SASL mechanisms')

/** Read by the server itself, its storage, accounts and plugin loader. */
export const coreOptions = {
  modules_enabled: option({ schema: names().default([]), description: 'Plugins to load.' }),
  modules_disabled: option({
    schema: names().default([]),
    description: 'Plugins not to load, though they are loaded by default or globally.',
  }),
  plugin_paths: option({
    schema: list(word('a folder'), 'folders').default([]),
    scope: 'global',
    description: 'Folders with plugins of your own, relative to the configuration.',
  }),
  enabled: option({
    schema: flag().default(true),
    scope: 'host',
    description: 'Whether the host is served.',
  }),
  interfaces: option({
    schema: addresses().default(['*', '::']),
    scope: 'global',
    description: 'IP addresses to listen on; "*" is every IPv4 one, "::" every IPv6 one.',
  }),
  local_interfaces: option({
    schema: addresses().default(['127.0.0.1', '::1']),
    scope: 'global',
    description: 'IP addresses for what is meant for this machine only, such as components.',
  }),
  use_ipv4: option({
    schema: flag().default(true),
    scope: 'global',
    description: 'Whether to listen on IPv4.',
  }),
  use_ipv6: option({
    schema: flag().default(true),
    scope: 'global',
    description: 'Whether to listen on IPv6.',
  }),
  tcp_keepalives: option({
    schema: flag().default(true),
    scope: 'global',
    description: 'Whether the system probes idle connections.',
  }),
  network_settings: option({
    schema: networkSettings.optional(),
    scope: 'global',
    description:
      'Settings of connections, of which one is read: `read_timeout`, seconds without a byte after which a client is asked whether it is there (840).',
  }),
  data_path: option({
    schema: word('a folder').default('data'),
    scope: 'global',
    description: 'Folder of the stored data, relative to the configuration.',
  }),
  storage: option({
    schema: z
      .union([oneOf(STORAGE_KINDS), table(oneOf(STORAGE_KINDS), 'a table')], {
        error: `must be one of ${STORAGE_LIST}, or a table such as { accounts = "internal" }`,
      })
      .optional(),
    description: 'Storage for all stores, or by the name of a store.',
  }),
  default_storage: option({
    schema: oneOf(STORAGE_KINDS).default('internal'),
    description: 'Storage for what `storage` does not name.',
  }),
  redis: option({
    schema: redisOption.optional(),
    scope: 'global',
    description: 'Where Redis is and how to log in to it, for `storage = "redis"`. Not of Prosody.',
    secret: true,
  }),
  cluster: option({
    schema: clusterOption.optional(),
    scope: 'global',
    description: 'Whether several processes are one server, over Redis, and how. Not of Prosody.',
    secret: true,
  }),
  cluster_lease: option({
    schema: integer(1, 3600).default(10),
    scope: 'global',
    description:
      'Seconds after which a process of the cluster that is not heard of is taken for dead. Not of Prosody.',
  }),
  authentication: option({
    schema: oneOf(['internal_hashed', 'internal_plain']).default('internal_hashed'),
    description: 'Who knows accounts and passwords.',
    advice: (value) =>
      value === 'internal_plain'
        ? 'authentication = "internal_plain" is taken as "internal_hashed": Legate keeps no passwords, only SCRAM keys'
        : undefined,
  }),
  default_iteration_count: option({
    schema: integer(4096, 10_000_000).default(10_000),
    description: 'Iterations of PBKDF2 for a new password (RFC 5802 §5.1).',
  }),
  certificates: option({
    schema: word('a folder').default('certs'),
    scope: 'global',
    description: 'Folder where certificates are looked for, relative to the configuration.',
  }),
  certificate: option({
    schema: word('a file name').optional(),
    description: 'Certificate of the host, with its chain.',
  }),
  ssl: option({ schema: ssl.optional(), description: 'Key, certificate and TLS settings.', secret: true }),
  log: option({
    schema: logOption.optional(),
    scope: 'global',
    description: 'Where the log goes.',
  }),
  log_format: option({
    schema: oneOf(['text', 'json']).default('text'),
    scope: 'global',
    description: 'Whether the log is text for people or JSON. Not of Prosody.',
  }),
  debug: option({
    schema: flag().default(false),
    scope: 'global',
    description: 'Whether the log has the level debug where `log` does not say.',
  }),
  pidfile: option({
    schema: word('a file name').optional(),
    scope: 'global',
    description: 'File to write the process id to.',
  }),
  admins: option({
    schema: list(jid('the JID of an account'), 'JIDs').default([]),
    description: 'Accounts that may administer the server.',
  }),
  name: option({ schema: text().optional(), description: 'Name of the server or component for people.' }),
  limits: option({
    schema: rateLimits.optional(),
    scope: 'global',
    description: 'How fast connections may send, by kind: c2s, component.',
  }),
  max_resources: option({
    schema: integer(1, 1000).default(10),
    description: 'Resources that an account may have connected at once.',
  }),
  conflict_resolve: option({
    schema: oneOf(['kick_old', 'kick_new', 'random', 'increment']).default('kick_old'),
    description: 'What happens when a resource is bound twice (RFC 6120 §7.7.2.2).',
  }),
  disco_items: option({
    schema: list(
      z.unknown().transform((value, context): { jid: string; name?: string } => {
        const parts = Array.isArray(value) ? value : isTable(value) ? [value['jid'], value['name']] : [value]
        const address = jid().safeParse(parts[0])
        const label = text().optional().safeParse(parts[1])
        if (address.success && label.success && !Array.isArray(parts[0])) {
          return { jid: address.data, ...(label.data !== undefined && { name: label.data }) }
        }
        context.addIssue({ code: 'custom', message: 'must be { "jid", "name" }' })
        return z.NEVER
      }),
      'items, each { "jid", "name" }',
    ).default([]),
    description: 'Further items of the host in service discovery.',
  }),
  disco_hidden: option({
    schema: flag().default(false),
    description: 'Whether the component is left out of its host’s items.',
  }),
} satisfies Record<string, OptionSpec>

/** Read by what serves clients: c2s, tls, saslauth. */
export const c2sOptions = {
  c2s_ports: option({
    schema: list(portNumber(), 'ports').default([5222]),
    scope: 'global',
    description: 'Ports for clients.',
  }),
  c2s_interfaces: option({
    schema: addresses().optional(),
    scope: 'global',
    description: 'IP addresses for clients; `interfaces` if absent.',
  }),
  c2s_direct_tls_ports: option({
    schema: list(portNumber(), 'ports').default([]),
    scope: 'global',
    description: 'Ports for clients that begin with TLS (XEP-0368), such as 5223.',
  }),
  c2s_direct_tls_interfaces: option({
    schema: addresses().optional(),
    scope: 'global',
    description: 'IP addresses for clients that begin with TLS; `interfaces` if absent.',
  }),
  c2s_answer_timeout: option({
    schema: period(1).default(60),
    scope: 'global',
    description:
      'Seconds that a silent client has to answer when it is asked whether it is there. Not of Prosody.',
  }),
  c2s_require_encryption: option({
    schema: flag().default(true),
    description: 'Whether a client must have TLS before it authenticates.',
  }),
  allow_unencrypted_plain_auth: option({
    schema: flag().default(false),
    description: 'Whether passwords may be sent in the clear.',
  }),
  c2s_timeout: option({
    schema: period().default(60),
    description: 'Seconds until a client must have authenticated.',
  }),
  c2s_close_timeout: option({
    schema: period().default(5),
    description: 'Seconds to wait for the other side to close its stream.',
  }),
  c2s_tcp_keepalives: option({
    schema: flag().optional(),
    description: '`tcp_keepalives` for clients.',
  }),
  c2s_stanza_size_limit: option({
    schema: integer(10_000).default(1024 * 256),
    description: 'Bytes that a stanza of a client may have.',
  }),
  c2s_unauthed_stanza_size_limit: option({
    schema: integer(1000).default(10_000),
    description: 'Bytes that an element may have before the client has authenticated. Not of Prosody.',
  }),
  stanza_depth_limit: option({
    schema: integer(8, 10_000).default(128),
    scope: 'global',
    description: 'Elements that may be nested in a stanza. Not of Prosody.',
  }),
  stanza_attribute_limit: option({
    schema: integer(8, 10_000).default(128),
    scope: 'global',
    description: 'Attributes that one element may have. Not of Prosody.',
  }),
  login_throttle: option({
    schema: flag().default(true),
    description:
      'Whether logins wait after wrong passwords from the same address or for the same account. Not of Prosody.',
  }),
  login_throttle_longest: option({
    schema: period(0.5).default(16),
    description: 'Seconds that a login waits at most after many wrong passwords. Not of Prosody.',
  }),
  login_throttle_exempt: option({
    schema: addresses().default([]),
    description:
      'IP addresses from which wrong passwords are counted by account only, as of a proxy. Not of Prosody.',
  }),
  insecure_sasl_mechanisms: option({
    schema: mechanisms().optional(),
    description: 'Mechanisms that are only offered over TLS; PLAIN and LOGIN if absent.',
  }),
  disable_sasl_mechanisms: option({
    schema: mechanisms().default(['DIGEST-MD5']),
    description: 'Mechanisms that are not offered.',
  }),
  tls_channel_binding: option({
    schema: flag().default(true),
    description: 'Whether SCRAM-…-PLUS is offered (RFC 5802 §6). Not of Prosody.',
  }),
} satisfies Record<string, OptionSpec>

/** Read by what serves external components (XEP-0114). */
export const componentOptions = {
  component_ports: option({
    schema: list(portNumber(), 'ports').default([5347]),
    scope: 'global',
    description: 'Ports for external components.',
  }),
  component_interfaces: option({
    schema: addresses().optional(),
    scope: 'global',
    description: 'IP addresses for external components; `local_interfaces` if absent.',
  }),
  component_secret: option({
    schema: text().optional(),
    secret: true,
    description: 'What an external component authenticates with.',
  }),
  component_conflict_resolve: option({
    schema: oneOf(['kick_new', 'kick_old', 'share']).default('kick_new'),
    description: 'What happens when a component connects twice; with "share" its connections share the work.',
  }),
  validate_from_addresses: option({
    schema: flag().default(true),
    description: 'Whether a component may only send from its own domain.',
  }),
  component_stanza_size_limit: option({
    schema: integer(10_000).optional(),
    description: 'Bytes that a stanza of a component may have; `s2s_stanza_size_limit` if absent.',
  }),
  s2s_stanza_size_limit: option({
    schema: integer(10_000).default(1024 * 512),
    description: 'Bytes that a stanza of another server may have.',
  }),
  component_tcp_keepalives: option({
    schema: flag().optional(),
    description: '`tcp_keepalives` for components.',
  }),
} satisfies Record<string, OptionSpec>

/** Read by the plugin delegation (XEP-0355), which also checks what is inside. Not of Prosody's core. */
export const delegationOptions = {
  delegations: option({
    schema: table(z.unknown(), 'a table from namespaces to { jid = "…" }').default({}),
    description: 'Namespaces and the entities that manage them.',
  }),
  delegation_timeout: option({
    schema: period(0.001).default(30),
    description: 'Seconds that a managing entity may take to answer.',
  }),
  delegation_compat: option({
    schema: list(oneOf(['urn:xmpp:delegation:1']), 'namespaces').default([]),
    description: 'Older protocols that an entry may ask for: `urn:xmpp:delegation:1` allows `version = 1`.',
  }),
} satisfies Record<string, OptionSpec>

/** All of the options of this file, by name. */
export const allCoreOptions: ReadonlyMap<string, OptionSpec> = new Map<string, OptionSpec>(
  Object.entries({
    ...coreOptions,
    ...c2sOptions,
    ...componentOptions,
    ...delegationOptions,
  }),
)

/** The names of {@link allCoreOptions}. */
export function knownOptionNames(): ReadonlySet<string> {
  return new Set(allCoreOptions.keys())
}
