/** The ad-hoc command by which an account sees what it has delegated, and takes it back (U5, XEP-0355 §6). */

import {
  type FormLayout,
  type FormReading,
  FormValues,
  formElement,
  localOf,
  NS_DELEGATION,
  readForm,
  StanzaError,
} from '../../server/index.ts'
import type { AdhocAnswer, AdhocCommand, AdhocRequest } from '../adhoc/index.ts'
import { shownEntity } from './client-consent.ts'
import type { Grant } from './client-grants.ts'
import { namespaceLabel } from './client-namespaces.ts'

/** What the command works on. */
export interface Revocable {
  of(username: string): Grant[]
  /** Takes back what an account has delegated. */
  revoke(username: string, grants: readonly Grant[]): Promise<void>
}

/** The well-known node (XEP-0355 §6). */
export const CONFIGURE_NODE = `${NS_DELEGATION}#configure`

/** A form that was not sent along. */
const NOTHING: FormReading = { values: new FormValues(new Map()), problems: [] }

const done = (text: string): AdhocAnswer => ({ status: 'completed', notes: [{ type: 'info', text }] })

export function configureCommand(grants: Revocable): AdhocCommand {
  return {
    node: CONFIGURE_NODE,
    name: 'Delegated features',
    permission: 'user',
    handle({ action, account, form }: AdhocRequest): AdhocAnswer | Promise<AdhocAnswer> {
      const username = localOf(account)!
      // What is there now counts, not what was there when the form was made.
      const present = new Map(grants.of(username).map((grant) => [keyOf(grant), grant]))
      const layout = listForm(present)
      if (action === 'execute') {
        if (present.size === 0)
          return done('You have delegated nothing: the server manages all features for you.')
        return { status: 'executing', form: formElement(layout), actions: ['complete'] }
      }
      const { values, problems } = form === undefined ? NOTHING : readForm(layout, form)
      if (problems.length > 0) throw new StanzaError('not-acceptable', problems.join('; '))
      const revoked = [...present]
        .filter(([key]) => values.list('revoke').includes(key))
        .map(([, grant]) => grant)
      if (revoked.length === 0) return done('Nothing was changed.')
      const names = revoked.map(({ delegation }) => delegation.namespace).join(', ')
      return grants.revoke(username, revoked).then(() => done(`Revoked: ${names}`))
    },
  }
}

/** A JID may have spaces, in its resource; a namespace that was granted has none. */
function keyOf({ delegation }: Grant): string {
  return `${delegation.namespace} ${delegation.jid}`
}

function listForm(present: ReadonlyMap<string, Grant>): FormLayout {
  return {
    title: 'Delegated features',
    instructions:
      'These features of your account are managed by others. Choose those that the server shall manage again.',
    formType: CONFIGURE_NODE,
    fields: [
      {
        var: 'revoke',
        type: 'list-multi',
        label: 'Revoke',
        options: [...present].map(([value, { delegation }]) => ({
          value,
          label: `${namespaceLabel(delegation.namespace)}, managed by ${shownEntity(delegation.jid)}`,
        })),
      },
    ],
  }
}
