/** A start tag while it is read: its name and its attributes. */

/** Beyond this many attributes duplicates are found with a set, before by looking at each. */
const FEW = 16

export class StartTag {
  name = ''
  /** where the colon is in the name, or -1 */
  colon = -1
  /** how many attributes there are, declarations included */
  count = 0
  /** names as written */
  readonly names: string[] = []
  /** where the colon is in each, or -1 */
  readonly colons: number[] = []
  /** values, decoded; only those that were asked for */
  readonly values: string[] = []
  /** attributes with a prefix, declarations and `xml:` excepted: their indices */
  readonly prefixed: number[] = []

  // Made for tags of many attributes only.
  private seen: Set<string> | undefined

  begin(name: string, colon: number): void {
    this.name = name
    this.colon = colon
    if (this.count > 0) {
      // Setting a length costs more than looking whether it has to be.
      this.count = 0
      this.names.length = 0
      this.colons.length = 0
      if (this.values.length > 0) this.values.length = 0
      if (this.prefixed.length > 0) this.prefixed.length = 0
    }
    this.seen = undefined
  }

  /** Whether there is an attribute of that name already. Linear for a whole tag. */
  has(name: string): boolean {
    const { names, count } = this
    if (count <= FEW) {
      for (let k = 0; k < count; k++) if (names[k] === name) return true
      return false
    }
    this.seen ??= new Set(names)
    return this.seen.has(name)
  }

  add(name: string, colon: number): void {
    const at = this.count++
    this.names.push(name)
    this.colons.push(colon)
    this.seen?.add(name)
    if (colon > 0 && !isDeclaration(name, colon) && !(colon === 3 && name.startsWith('xml'))) {
      this.prefixed.push(at)
    }
  }

  get localName(): string {
    return this.colon < 0 ? this.name : this.name.slice(this.colon + 1)
  }
}

/** Whether an attribute of that name declares a namespace: `xmlns` or `xmlns:prefix`. */
export function isDeclaration(name: string, colon: number): boolean {
  return colon < 0 ? name === 'xmlns' : colon === 5 && name.startsWith('xmlns')
}
