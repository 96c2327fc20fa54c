// All scenarios, in the order of the tables' rows.
import { CLUSTER_SCENARIOS } from './cluster.ts'
import { GROWTH_SCENARIOS } from './growth.ts'
import { LOGIN_SCENARIOS } from './login.ts'
import { MEMORY_SCENARIOS } from './memory.ts'
import { REPLY_TIME_SCENARIOS } from './reply-time.ts'
import type { Scenario } from './scenario.ts'
import { soak } from './soak.ts'
import { IM_SCENARIOS, TRAFFIC_SCENARIOS } from './traffic.ts'

/** What can be measured. */
export const SCENARIOS: readonly Scenario[] = [
  ...TRAFFIC_SCENARIOS,
  ...IM_SCENARIOS,
  ...LOGIN_SCENARIOS,
  ...MEMORY_SCENARIOS,
  ...GROWTH_SCENARIOS,
  ...REPLY_TIME_SCENARIOS,
  ...CLUSTER_SCENARIOS,
  soak,
]
