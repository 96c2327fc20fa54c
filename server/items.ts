/** Items that plugins add to a host for other plugins to find: features, identities, extensions … */

/** Lists of items by name. */
export class ItemList {
  private readonly lists = new Map<string, { owner: string; item: unknown }[]>()
  private changes = 0

  /** Another number each time that an item comes or goes, in any list: for whoever remembers what follows from them. */
  get revision(): number {
    return this.changes
  }

  /**
   * @param name - which list: `feature`, `identity` …
   * @param item - anything
   * @param owner - the plugin that adds it
   * @returns a function that takes it out again
   */
  add(name: string, item: unknown, owner: string): () => void {
    let list = this.lists.get(name)
    if (list === undefined) {
      list = []
      this.lists.set(name, list)
    }
    const entry = { owner, item }
    list.push(entry)
    this.changes++
    return () => {
      const index = list.indexOf(entry)
      if (index < 0) return
      list.splice(index, 1)
      this.changes++
    }
  }

  /** The items of a list, in the order in which they were added. */
  get<T>(name: string): T[] {
    return (this.lists.get(name) ?? []).map((entry) => entry.item as T)
  }

  /** The same with the name of the plugin that added each. */
  entries<T>(name: string): { owner: string; item: T }[] {
    return (this.lists.get(name) ?? []).map(({ owner, item }) => ({ owner, item: item as T }))
  }
}
