/** Writes of rosters, and what has to be there after them. */

import { expect } from 'vitest'
import { login } from './client.ts'
import { served } from './legate-cluster.ts'

const NS_ROSTER = 'jabber:iq:roster'
/** Contacts that each writer changes in turn. */
const CONTACTS = 8

interface Contact {
  readonly user: string
  /** The value of the last write that was acknowledged; 0 if none was. */
  acknowledged: number
  /** Those of later writes of which it is not known whether they were done. */
  perhaps: number[]
}

/** What several writers have done, each with contacts of its own. */
export class RosterWrites {
  private readonly contacts = new Map<string, Contact>()
  private readonly underWay = new Map<string, { id: string; jid: string; value: number }>()
  private readonly runs = new Map<string, number>()
  private count = 0
  private run = 0

  /** Others come under the same names. */
  begin(): void {
    this.run++
  }

  /** The next write of a writer, whose last one has been answered. */
  next(user: string, writer: string, id: string): string {
    const turn = (this.runs.get(writer) ?? 0) + 1
    this.runs.set(writer, turn)
    const jid = `${writer.replaceAll(/\W/g, '')}-${turn % CONTACTS}@run${this.run}.lit`
    const value = ++this.count
    if (!this.contacts.has(jid)) this.contacts.set(jid, { user, acknowledged: 0, perhaps: [] })
    this.underWay.set(writer, { id, jid, value })
    return `<iq type='set' id='${id}'><query xmlns='${NS_ROSTER}'><item jid='${jid}' name='${value}'/></query></iq>`
  }

  /** A write was answered: acknowledged by a `result`, or it may have been done. */
  told(id: string, word: string): void {
    for (const [writer, write] of this.underWay) {
      if (write.id !== id) continue
      if (word !== 'result') {
        this.abandon(writer)
        return
      }
      this.underWay.delete(writer)
      Object.assign(this.contacts.get(write.jid)!, { acknowledged: write.value, perhaps: [] })
    }
  }

  /** What a writer has under way may have been done. */
  abandon(writer: string): void {
    const write = this.underWay.get(writer)
    this.underWay.delete(writer)
    if (write !== undefined) this.contacts.get(write.jid)!.perhaps.push(write.value)
  }

  /** How many contacts have been acknowledged. */
  get acknowledged(): number {
    return [...this.contacts.values()].filter(({ acknowledged }) => acknowledged > 0).length
  }

  /** Everything that was acknowledged is there. @param portFor - where a user's roster is asked for */
  async check(domain: string, portFor: (user: string) => number): Promise<void> {
    const users = new Set([...this.contacts.values()].map(({ user }) => user))
    for (const user of users) {
      const stream = await served(() => login(portFor(user), `${user}@${domain}/reads`, { presence: false }))
      const answer = await stream.ask(`<iq type='get' id='roster'><query xmlns='${NS_ROSTER}'/></iq>`)
      const items = answer.getChild('query', NS_ROSTER)?.getChildren('item') ?? []
      const found = new Map(items.map(({ attrs }) => [attrs.jid as string, Number(attrs.name)]))
      await stream.close()
      for (const [jid, { user: whose, acknowledged, perhaps }] of this.contacts) {
        if (whose !== user) continue
        const value = found.get(jid) ?? 0
        const fits = value === acknowledged || perhaps.includes(value)
        expect([user, jid, fits ? 'fits' : { value, acknowledged, perhaps }]).toEqual([user, jid, 'fits'])
      }
    }
  }
}
