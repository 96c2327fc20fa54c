/** What a client asks of its archive: the form (XEP-0313 §4.1) and the page (XEP-0059). */

import {
  type Element,
  type FormLayout,
  isArchiveId,
  NS_DATA,
  NS_MAM,
  NS_RSM,
  prepareJid,
  rawFormValues,
  StanzaError,
} from '../../server/index.ts'

/** A query, as it was asked. */
export interface MamQuery {
  readonly queryId: string | undefined
  /** Milliseconds since 1970, both included. */
  readonly start: number | undefined
  readonly end: number | undefined
  /** Bare JID, and the full one if only that is meant. */
  readonly with: string | undefined
  readonly fullWith: string | undefined
  readonly afterId: string | undefined
  readonly beforeId: string | undefined
  readonly ids: readonly string[] | undefined
  readonly flip: boolean
  readonly page: PageRequest
}

/** Which page of the result set (XEP-0059). */
export interface PageRequest {
  /** Undefined: as many as the server gives. */
  readonly max: number | undefined
  readonly after: string | undefined
  /** The last page before an id; with `''` the last of all. */
  readonly before: string | undefined
}

/** The fields that are understood. */
export const QUERY_FORM: FormLayout = {
  formType: NS_MAM,
  fields: [
    { var: 'with', type: 'jid-single' },
    { var: 'start', type: 'text-single' },
    { var: 'end', type: 'text-single' },
    { var: 'before-id', type: 'text-single' },
    { var: 'after-id', type: 'text-single' },
    { var: 'ids', type: 'list-multi' },
  ],
}

/** XEP-0082 §3.2 */
const DATE_TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/
/** Entries that can be asked for by their ids at once. */
const MOST_IDS = 250

/** @throws StanzaError for what can not be understood */
export function readQuery(query: Element): MamQuery {
  const form = query.getChild('x', NS_DATA)
  const values = form === undefined ? undefined : rawFormValues(form)
  const text = (name: string) => values?.text(name)
  const address = text('with')
  const jid = address === undefined ? undefined : prepareJid(address)
  if (address !== undefined && jid === undefined) {
    throw new StanzaError('jid-malformed', `This is no address: ${address}`)
  }
  const ids = values?.has('ids') === true ? values.list('ids') : undefined
  if (ids !== undefined && ids.length > MOST_IDS) {
    throw new StanzaError('resource-constraint', `Not more than ${MOST_IDS} ids at a time`)
  }
  return {
    queryId: query.attrs['queryid'] as string | undefined,
    start: readTime(text('start'), 'start'),
    end: readTime(text('end'), 'end'),
    with: jid?.bare,
    fullWith: jid?.resource === undefined ? undefined : jid.full,
    afterId: readId(text('after-id')),
    beforeId: readId(text('before-id')),
    ids,
    flip: query.getChild('flip-page') !== undefined,
    page: readPage(query.getChild('set', NS_RSM)),
  }
}

function readPage(set: Element | undefined): PageRequest {
  const max = set?.getChildText('max') ?? undefined
  if (max !== undefined && !/^\d{1,9}$/.test(max))
    throw new StanzaError('bad-request', 'max is no whole number')
  if (set?.getChild('index') !== undefined) {
    throw new StanzaError('feature-not-implemented', 'Pages are found by ids only')
  }
  const before = set?.getChild('before')?.getText()
  return {
    max: max === undefined ? undefined : Number(max),
    after: readId(set?.getChildText('after') ?? undefined),
    before: before === '' ? before : readId(before),
  }
}

/** @throws StanzaError `item-not-found`: what is no id is no entry's */
function readId(text: string | undefined): string | undefined {
  if (text === undefined || isArchiveId(text)) return text
  throw new StanzaError('item-not-found', 'There is no entry with this id')
}

function readTime(text: string | undefined, name: string): number | undefined {
  if (text === undefined) return undefined
  const when = DATE_TIME.test(text) ? Date.parse(text) : Number.NaN
  if (Number.isNaN(when)) throw new StanzaError('bad-request', `${name} is no time as XEP-0082 writes it`)
  return when
}
