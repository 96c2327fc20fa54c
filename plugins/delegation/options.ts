/** The options that the plugin reads. */

import { delegationOptions } from '../../server/index.ts'
import { clientOptions } from './client-options.ts'

export const options = { ...delegationOptions, ...clientOptions }
