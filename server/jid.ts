// JIDs: preparing, splitting, joining, and remembering what was prepared (RFC 7622).
import { JID } from '@xmpp/jid'
import {
  asciiAllows,
  hasALabel,
  hasPlainLabels,
  IN_DOMAIN,
  IN_LOCAL,
  IN_RESOURCE,
  isPlain,
  MAX_PART_BYTES,
} from './jid-ascii.ts'
import { prepareDomain, prepareLocal, prepareResource } from './jid-profiles.ts'
import { detached } from './text.ts'

export { prepareDomain, prepareLocal, prepareResource }

/** An address whose parts are prepared: two are the same address if their `full` is the same string. */
export interface PreparedJid {
  readonly full: string
  /** `full` without the resource */
  readonly bare: string
  readonly local: string | undefined
  readonly domain: string
  readonly resource: string | undefined
}

const SLASH = 0x2f
const AT = 0x40

/** The longest JID: three parts of 1023 bytes, `@` and `/` (RFC 7622 §3.1). A UTF-16 unit is a byte or more. */
const MAX_JID_LENGTH = 3 * MAX_PART_BYTES + 2

/** Longer texts are prepared anew each time, so that the cache has a known size: some 15 MB if filled on purpose. */
const MAX_REMEMBERED_LENGTH = 256
const GENERATION = 10_000

// Two generations: when the young one is full it becomes the old one, and what nobody asked for since is let go.
let young = new Map<string, PreparedJid>()
let old = new Map<string, PreparedJid>()

function remember(text: string, jid: PreparedJid): void {
  if (young.size >= GENERATION) {
    old = young
    young = new Map()
  }
  young.set(text, jid)
}

/** How many texts are remembered; there are never more than 20 000. */
export function rememberedJids(): number {
  return young.size + old.size
}

/**
 * Prepares an address (RFC 7622) and remembers it. The strings in the answer
 * are copies: keeping them keeps nothing of the text they were cut from.
 *
 * @returns undefined if the text is no JID (`jid-malformed`, RFC 6120 §8.3.3.8)
 */
export function prepareJid(text: string): PreparedJid | undefined {
  const known = young.get(text)
  if (known !== undefined) return known
  const aged = old.get(text)
  if (aged !== undefined) {
    remember(aged.full === text ? aged.full : detached(text), aged)
    return aged
  }
  if (text.length > MAX_JID_LENGTH) return undefined
  const jid = readPlain(text) ?? readAny(text)
  if (jid !== undefined && text.length <= MAX_REMEMBERED_LENGTH) {
    remember(jid.full === text ? jid.full : detached(text), jid)
  }
  return jid
}

/** An address of ASCII only, in lower case where case does not matter: nothing to map. Undefined if it is not one. */
function readPlain(text: string): PreparedJid | undefined {
  let at = -1
  let slash = text.length
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i)
    if (code === SLASH) {
      slash = i
      break
    }
    if (code === AT && at === -1) at = i
    else if (!asciiAllows(code, at === -1 ? IN_LOCAL : IN_DOMAIN)) return undefined
  }
  for (let i = slash + 1; i < text.length; i++) {
    if (!asciiAllows(text.charCodeAt(i), IN_RESOURCE)) return undefined
  }
  if (at === 0 || at > MAX_PART_BYTES) return undefined
  if (slash === text.length - 1 || text.length - slash - 1 > MAX_PART_BYTES) return undefined
  const domain = text.slice(at + 1, slash)
  if (domain.length > MAX_PART_BYTES || !isPlain(domain, IN_DOMAIN)) return undefined
  if (!hasPlainLabels(domain) || hasALabel(domain)) return undefined
  return makePrepared(
    at === -1 ? undefined : text.slice(0, at),
    domain,
    slash === text.length ? undefined : text.slice(slash + 1),
    text,
  )
}

function readAny(text: string): PreparedJid | undefined {
  // RFC 7622 §3.2: the first "/" ends the domain, whatever follows; the first "@" before it ends the local
  const slash = text.indexOf('/')
  const bare = slash === -1 ? text : text.slice(0, slash)
  const at = bare.indexOf('@')
  const domain = prepareDomain(bare.slice(at + 1))
  if (domain === undefined) return undefined
  const local = at === -1 ? undefined : prepareLocal(bare.slice(0, at))
  if (at !== -1 && local === undefined) return undefined
  const resource = slash === -1 ? undefined : prepareResource(text.slice(slash + 1))
  if (slash !== -1 && resource === undefined) return undefined
  return makePrepared(local, domain, resource, joinJid(local, domain, resource))
}

function makePrepared(
  local: string | undefined,
  domain: string,
  resource: string | undefined,
  joined: string,
): PreparedJid {
  const full = detached(joined)
  // Parts are cut from the copy, so that the text they came in can go
  const start = local === undefined ? 0 : local.length + 1
  const end = start + domain.length
  return {
    full,
    bare: resource === undefined ? full : full.slice(0, end),
    local: local === undefined ? undefined : full.slice(0, local.length),
    domain: full.slice(start, end),
    resource: resource === undefined ? undefined : full.slice(end + 1),
  }
}

/** The bare JID of a prepared address. */
export function bareOf(fullOrBare: string): string {
  const slash = fullOrBare.indexOf('/')
  return slash === -1 ? fullOrBare : fullOrBare.slice(0, slash)
}

/** The resourcepart of a prepared address. */
export function resourceOf(jid: string): string | undefined {
  const slash = jid.indexOf('/')
  return slash === -1 ? undefined : jid.slice(slash + 1)
}

/** The domainpart of a prepared address. */
export function domainOf(jid: string): string {
  const bare = bareOf(jid)
  return bare.slice(bare.indexOf('@') + 1)
}

/** The localpart of a prepared address. */
export function localOf(jid: string): string | undefined {
  const bare = bareOf(jid)
  const at = bare.indexOf('@')
  return at === -1 ? undefined : bare.slice(0, at)
}

/** Joins prepared parts to an address. */
export function joinJid(local: string | undefined, domain: string, resource?: string): string {
  const bare = local === undefined ? domain : `${local}@${domain}`
  return resource === undefined ? bare : `${bare}/${resource}`
}

/** A JID of `@xmpp/jid` that holds the localpart as it is: the class itself would escape it (XEP-0106). */
class VerbatimJid extends JID {
  override setLocal(local: string): this {
    Object.assign(this, { _local: local })
    return this
  }

  override bare(): JID {
    return this.resource === '' ? this : new VerbatimJid(this.local, this.domain)
  }
}

/** The address as the class that JavaScript XMPP libraries know. */
export function toJid(prepared: PreparedJid): JID {
  return new VerbatimJid(prepared.local, prepared.domain, prepared.resource)
}
