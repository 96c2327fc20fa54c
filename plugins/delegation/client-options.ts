/** The options of client mode (XEP-0355 §5). */

import { kinds, type OptionSpecs, option } from '../../server/index.ts'
import { mayBeGranted } from './client-namespaces.ts'

export const clientOptions = {
  delegation_client_mode: option({
    schema: kinds.flag().default(false),
    description: 'Whether accounts may delegate namespaces of their own to entities that ask them.',
  }),
  delegation_consent_timeout: option({
    schema: kinds.period(1).default(300),
    description: 'Seconds that an account has to consent to a delegation.',
  }),
  delegation_client_namespaces: option({
    schema: kinds
      .table(
        kinds.list(kinds.word('a namespace'), 'namespaces'),
        'a table such as { allow = { "…" } } or { deny = { "…" } }',
      )
      .refine(
        (table) => {
          const keys = Object.keys(table)
          return keys.length < 2 && keys.every((key) => key === 'allow' || key === 'deny')
        },
        { error: 'must have either allow or deny, and nothing else' },
      )
      .default({}),
    description: 'Namespaces that accounts may delegate (allow), or may not (deny).',
    advice({ allow = [] }) {
      const vital = allow.filter((namespace) => !mayBeGranted(namespace, {}))
      return vital.length === 0
        ? undefined
        : `delegation_client_namespaces allows ${vital.join(', ')}, which no account can delegate: take it out`
    },
  }),
  delegation_client_persist: option({
    schema: kinds.flag().default(false),
    description: 'Whether a delegation by an account outlasts its sessions.',
  }),
} satisfies OptionSpecs
