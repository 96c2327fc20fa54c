/** Whom to turn to (XEP-0157): addresses in the host's service discovery. */

import { coreOptions, definePlugin, formElement, kinds, option } from '../server/index.ts'

/** The fields of the registry (XEP-0157 §6), and those that Prosody knows besides. */
const ROLES = ['abuse', 'admin', 'feedback', 'sales', 'security', 'status', 'support'] as const

const options = {
  admins: coreOptions.admins,
  contact_info: option({
    schema: kinds
      .table(
        kinds.list(kinds.text('an address such as "mailto:admin@example.com"'), 'addresses'),
        'a table of roles',
      )
      .superRefine((table, context) => {
        for (const role of Object.keys(table)) {
          if ((ROLES as readonly string[]).includes(role)) continue
          const message = `has the role "${role}"; there are ${ROLES.join(', ')}`
          context.addIssue({ code: 'custom', message, path: [role] })
        }
      })
      .optional(),
    description: 'Addresses (URIs) of those who run the server, by role; the admins if it is absent.',
  }),
}

export default definePlugin({
  name: 'server_contact_info',
  options,
  load(module) {
    let withdraw = () => {}
    const announce = () => {
      withdraw()
      const { admins } = module.options
      const addresses = module.options.contact_info ?? { admin: admins.map((jid) => `xmpp:${jid}`) }
      const fields = ROLES.flatMap((role) => {
        const value = addresses[role] ?? []
        return value.length === 0 ? [] : [{ var: `${role}-addresses`, type: 'list-multi' as const, value }]
      })
      const formType = 'http://jabber.org/network/serverinfo'
      withdraw =
        fields.length === 0 ? () => {} : module.addExtension(formElement({ formType, fields }, 'result'))
    }
    announce()
    module.hook('config-reloaded', announce)
  },
})
