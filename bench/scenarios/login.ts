// Server CPU for each login, from the connection's beginning to its end.
import { measurementOf, windowPlan } from './closed-loop.ts'
import { type Scenario, type Setup, spareAccounts, USUAL } from './scenario.ts'

const WARM_UP_LOGINS = 100
/** Under way at the same time. */
const PARALLEL = 16

type Mechanism = 'PLAIN' | 'SCRAM-SHA-1'

/** With both mechanisms, over TCP and TLS, 16 at a time and one at a time. */
export const LOGIN_SCENARIOS: readonly Scenario[] = [false, true].flatMap((tls) =>
  (['PLAIN', 'SCRAM-SHA-1'] as const).flatMap((mechanism) =>
    [PARALLEL, 1].map((inFlight) => login(tls, mechanism, inFlight)),
  ),
)

function login(tls: boolean, mechanism: Mechanism, inFlight: number): Scenario {
  const plain = mechanism === 'PLAIN'
  // Whether clients use TLS is theirs to say: all of these share a server, but for the form of its passwords.
  const setup: Setup = { ...USUAL, clients: 0, roster: false, passwords: plain ? 'plain' : 'keys' }
  return {
    name: `login${tls ? '-tls' : ''}-${plain ? 'plain' : 'scram'}${inFlight === 1 ? '-1' : ''}`,
    title: `login, ${plain ? 'PLAIN' : 'SCRAM'}${tls ? ', TLS' : ''}, ${inFlight} at a time`,
    section: 'login',
    unit: 'µs',
    usual: true,
    setup,
    async measure(server, load, settings) {
      const plan = windowPlan(server, settings, 'login')
      plan.warmUpOperations = Math.min(WARM_UP_LOGINS, settings.operations ?? WARM_UP_LOGINS)
      const manner = { tls, mechanism }
      return measurementOf(
        await load.ask('logins', { ...plan, accounts: spareAccounts(0), inFlight, manner }),
      )
    },
  }
}
