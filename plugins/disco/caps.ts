/** What a host is and can do, remembered until it changes, and its entity capabilities (XEP-0115 §6.2, §6.3). */

import { type Host, NS_CAPS } from '../../server/index.ts'
import { hostParts, shownParts, writeParts } from './info.ts'
import { verificationString } from './verification.ts'

/** Names the software (XEP-0115 §4). */
export const CAPS_NODE = 'urn:x-legate'
/** Who has been told a verification string may ask for it after it has changed; that many are remembered. */
const MOST_VERSIONS = 4

/** The disco#info of a host as it is now. */
interface HostInfo {
  /** Of the host's items. */
  readonly revision: number
  /** The content of the query. */
  readonly content: string
  /** Undefined if there is no sound one. */
  readonly ver: string | undefined
}

/** The disco#info of one host, with its verification string. */
export class HostCaps {
  private readonly host: Host
  private current: HostInfo | undefined
  /** The content of the query by verification string, the latest last. */
  private readonly versions = new Map<string, string>()

  constructor(host: Host) {
    this.host = host
  }

  /** The content of the host's disco#info. */
  get content(): string {
    return this.read().content
  }

  /** The attributes of the stream feature `<c/>`; undefined if the host has no sound verification string. */
  get feature(): Record<string, string> | undefined {
    const { ver } = this.read()
    return ver === undefined ? undefined : { xmlns: NS_CAPS, hash: 'sha-1', node: CAPS_NODE, ver }
  }

  /**
   * What the host was when it had a verification string.
   *
   * @param node - of a query: the software's, `#`, and the string
   * @returns the content of the answer; undefined if it is another node
   */
  contentOf(node: string): string | undefined {
    if (!node.startsWith(`${CAPS_NODE}#`)) return undefined
    this.read()
    return this.versions.get(node.slice(CAPS_NODE.length + 1))
  }

  /** Something else than the host's items may have changed. */
  forget(): void {
    this.current = undefined
  }

  private read(): HostInfo {
    const { revision } = this.host.items
    if (this.current?.revision === revision) return this.current
    const parts = shownParts(this.host, hostParts(this.host))
    const content = writeParts(parts)
    const ver = verificationString(parts)
    this.current = { revision, content, ver }
    if (ver !== undefined) this.remember(ver, content)
    return this.current
  }

  private remember(ver: string, content: string): void {
    this.versions.delete(ver)
    this.versions.set(ver, content)
    if (this.versions.size <= MOST_VERSIONS) return
    for (const oldest of this.versions.keys()) {
      this.versions.delete(oldest)
      return
    }
  }
}
