// Logins in a closed loop: a fixed number is under way, and each one that is over starts the next. An operation is
// everything from the connection's beginning to its end.
import { type LoginManner, logIn } from './client.ts'
import { HOST, PASSWORD, spareName } from './stanzas.ts'
import { Window, type WindowPlan, type WindowResult } from './window.ts'

/** How to measure. */
export interface LoginPlan extends WindowPlan {
  c2sPort: number
  /** Accounts that take turns. */
  accounts: number
  /** Logins under way at the same time. */
  inFlight: number
  manner: LoginManner
}

/**
 * Runs one warm-up and one window.
 * @throws Error when a login fails
 */
export function runLogins(plan: LoginPlan): Promise<WindowResult> {
  return new Promise((resolve, reject) => {
    const window = new Window(plan, (error) => settle(error))
    let failed = false
    let started = 0
    let running = plan.inFlight
    const settle = (error: unknown) => {
      failed = true
      window.close()
      reject(error)
    }
    const worker = async () => {
      while (window.phase !== 'drain' && !failed) {
        const number = started++
        const sentAt = performance.now()
        // A resource of its own: the last session of the account may not be quite gone.
        const account = {
          host: HOST,
          user: spareName(number % plan.accounts),
          password: PASSWORD,
          resource: `l${number}`,
        }
        const { connection } = await logIn(plan.c2sPort, account, plan.manner)
        await connection.end()
        window.count(sentAt, performance.now())
      }
      if (--running === 0 && !failed) {
        window.close()
        resolve(window.result!)
      }
    }
    for (let index = 0; index < plan.inFlight; index++) worker().catch(settle)
  })
}
