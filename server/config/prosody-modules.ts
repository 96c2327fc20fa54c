// Prosody's modules that Legate has no plugin for, and what their users do instead.

/** The core does what these do: nobody misses them. */
export const needlessModules: ReadonlySet<string> = new Set(['posix'])

const REMOTE = 'there are no connections to other servers yet'
const PEP = 'a service from outside can do it, over the plugins "delegation" and "privilege"'
const HTTP = 'Legate does not speak HTTP; clients connect to c2s_ports and c2s_direct_tls_ports'
const UPLOADS = 'Legate does not speak HTTP; a component from outside can keep files'
const ROOMS = 'a component from outside can have rooms'
const COMMANDS = 'legate status, reload, adduser, passwd and deluser take its place'
const INVITATIONS =
  'there are no invitations; accounts are made with legate adduser, or see allow_registration'

const INSTEAD: ReadonlyMap<string, string> = new Map([
  ...named('s2s s2s_bidi s2s_auth_certs s2s_auth_dane_in s2s_smacks_timeout dialback', REMOTE),
  ...named('pep pep_plus pep_simple pubsub', PEP),
  ...named('vcard4 vcard_legacy', 'it needs PEP; "vcard" has vCards without it'),
  ...named('bookmarks', 'it needs PEP; clients that know no other way keep them with "private"'),
  ...named('http bosh websocket http_files http_openmetrics http_errors', HTTP),
  ...named('http_file_share http_upload http_upload_external proxy65', UPLOADS),
  ...named('muc muc_mam muc_unique', ROOMS),
  ...named('admin_adhoc admin_shell admin_socket admin_telnet', COMMANDS),
  ...named('invites invites_adhoc invites_register invites_page', INVITATIONS),
  ...named('blocking', '"blocklist" is its name here'),
])

function named(names: string, advice: string): [string, string][] {
  return names.split(' ').map((name) => [name, advice])
}

/**
 * What there is instead of one of Prosody's modules, or what is wrong with its name; undefined if nothing is known.
 *
 * @param name - as in `modules_enabled`
 */
export function insteadOfModule(name: string): string | undefined {
  const [, kind, rest] = /^(mod|auth|storage)_(.+)$/.exec(name) ?? []
  if (kind === 'mod') return `write it without "mod_": "${rest}"`
  if (kind === 'auth') return `that is the option authentication, such as authentication = "${rest}"`
  if (kind === 'storage') return `that is the option storage, such as storage = "${rest}"`
  return INSTEAD.get(name)
}
