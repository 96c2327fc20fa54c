/** Leaves out what the server's own plugins announce for namespaces that are delegated (D4). */

import type { Element } from '../../server/index.ts'
import type { DiscoFilter } from '../disco/index.ts'
import { formTypeOf } from './discovery-answer.ts'

/**
 * The item `disco-filter` of a host that delegates.
 *
 * @param self - the plugin's own name: what managers announce is announced under it, and stays
 * @param isDelegated - asked at each announcement
 */
export function leaveOutOwn(self: string, isDelegated: (namespace: string) => boolean): DiscoFilter {
  const covers = (name: string): boolean => {
    for (let at = name.indexOf('#'); at >= 0; at = name.indexOf('#', at + 1)) {
      if (isDelegated(name.slice(0, at))) return true
    }
    return isDelegated(name)
  }
  return (kind, item, owner, features) => {
    if (owner === self) return false
    if (kind === 'feature') return covers(item as string)
    if (kind === 'extension') return covers(formTypeOf(item as Element) ?? '')
    // A server stays a server, and an account an account, whoever answers service discovery for it.
    return owner !== 'disco' && features.some(covers)
  }
}
