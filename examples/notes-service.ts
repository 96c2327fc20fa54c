/** Keeps notes of a server's accounts. Clients ask their own account (get or set), and never hear of it. */

import { type ComponentOptions, component, xml } from '@xmpp/component'
import { type AccountJid, createManager, type NamespaceHandler, StanzaError } from '../manager/index.ts' // yours: 'legate/manager'
import { isProgram, runComponent } from './run-component.ts'

export const NS_NOTES = 'urn:example:notes'
/** What is kept, so that nobody can fill the memory; `length` in characters. */
const MOST = { notes: 100, accounts: 10_000, length: 500 }

/** @param hosts - whose accounts can keep notes: set `<note>`; get `<notes/>`, or one `<note id='1'/>` */
export function createNotesService(options: ComponentOptions, hosts: string[]) {
  const entity = component(options)
  const manager = createManager(entity, { hosts })
  const notebooks = new Map<AccountJid, string[]>()
  const answer: NamespaceHandler = ({ type, account, own, payload }) => {
    if (!own) throw new StanzaError('forbidden')
    const notes = notebooks.get(account) ?? []
    if (type === 'set' && payload.is('note')) {
      const text = payload.text().trim()
      if (text === '') throw new StanzaError('bad-request', 'The note is empty')
      const full = notes.length >= MOST.notes || (notes.length === 0 && notebooks.size >= MOST.accounts)
      if (full || text.length > MOST.length) throw new StanzaError('resource-constraint')
      notebooks.set(account, [...notes, text])
      return xml('note', { xmlns: NS_NOTES, id: `${notes.length + 1}` })
    }
    const all = notes.map((text, index) => xml('note', { id: `${index + 1}` }, text))
    if (type === 'get' && payload.is('notes')) return xml('notes', { xmlns: NS_NOTES }, ...all)
    if (type === 'set' || !payload.is('note')) throw new StanzaError('feature-not-implemented')
    const found = all.find(({ attrs }) => attrs.id === payload.attrs.id)
    if (found === undefined) throw new StanzaError('item-not-found')
    found.attrs.xmlns = NS_NOTES
    return found
  }
  manager.handle(NS_NOTES, answer, { account: { features: [NS_NOTES] } })
  return { entity, manager }
}

if (isProgram(import.meta.url)) await runComponent(createNotesService)
