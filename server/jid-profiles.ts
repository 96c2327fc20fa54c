// How the parts of a JID are prepared (RFC 7622 §3): localparts as names, resourceparts as opaque strings.
//
// Prosody and ejabberd still have RFC 6122's Nodeprep and Resourceprep. prosody-compat.lua.md, "Addresses", says
// where names come out otherwise.
import { hasExcluded, IN_LOCAL, IN_RESOURCE, isPlain, isTooLong, MAX_PART_BYTES } from './jid-ascii.ts'
import { enforceOpaqueString, enforceUsername } from './precis/profiles.ts'

export { prepareDomain } from './jid-domain.ts'

/** A localpart: UsernameCaseMapped (RFC 7622 §3.3); undefined if the text is none. */
export function prepareLocal(text: string): string | undefined {
  if (isPlain(text, IN_LOCAL)) return text.length > 0 && text.length <= MAX_PART_BYTES ? text : undefined
  // As it came, too: what is mapped costs by its length
  if (isTooLong(text)) return undefined
  const lower = text.toLowerCase()
  if (lower.length > 0 && isPlain(lower, IN_LOCAL)) return lower
  const local = enforceUsername(text, MAX_PART_BYTES)
  return local === undefined || hasExcluded(local) || isTooLong(local) ? undefined : local
}

/** A resourcepart: OpaqueString (RFC 7622 §3.4); undefined if the text is none. */
export function prepareResource(text: string): string | undefined {
  if (isPlain(text, IN_RESOURCE)) return text.length > 0 && text.length <= MAX_PART_BYTES ? text : undefined
  if (isTooLong(text)) return undefined
  const resource = enforceOpaqueString(text, MAX_PART_BYTES)
  return resource === undefined || isTooLong(resource) ? undefined : resource
}
