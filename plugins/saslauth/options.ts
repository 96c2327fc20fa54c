/** The options of the plugin. */

import { c2sOptions, coreOptions, type Module } from '../../server/index.ts'

export const options = {
  c2s_require_encryption: c2sOptions.c2s_require_encryption,
  allow_unencrypted_plain_auth: c2sOptions.allow_unencrypted_plain_auth,
  insecure_sasl_mechanisms: c2sOptions.insecure_sasl_mechanisms,
  disable_sasl_mechanisms: c2sOptions.disable_sasl_mechanisms,
  tls_channel_binding: c2sOptions.tls_channel_binding,
  login_throttle: c2sOptions.login_throttle,
  login_throttle_longest: c2sOptions.login_throttle_longest,
  login_throttle_exempt: c2sOptions.login_throttle_exempt,
  conflict_resolve: coreOptions.conflict_resolve,
  max_resources: coreOptions.max_resources,
}
export type SaslModule = Module<typeof options>
