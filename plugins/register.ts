/** In-band registration (XEP-0077): accounts are changed and removed, and made where `allow_registration` says so. */

import { definePlugin } from '../server/index.ts'

export default definePlugin({
  name: 'register',
  hostType: 'host',
  depends: ['user_account_management', 'register_ibr'],
})
