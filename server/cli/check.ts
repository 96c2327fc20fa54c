// legate check: every mistake of the configuration at once.

import { type Config, ConfigError, type ConfigProblem, loadConfigFile } from '../config/index.ts'
import { joinJid } from '../jid.ts'
import { escapeUnsafe } from '../log-text.ts'
import { dataPathOf } from '../server.ts'
import { findConfigFile } from './config-file.ts'
import { examineConfig } from './examine.ts'
import { examineFiles } from './examine-files.ts'
import { EXIT } from './failure.ts'
import { countFindings, formatFinding, inOrder, mayColour, plural, shortPath } from './findings.ts'
import { knownPlugins } from './known-plugins.ts'
import { becomeOwnerOf } from './owner.ts'
import { parsed, servedHosts } from './reading.ts'
import { StoredAccounts } from './stored-accounts.ts'

/** @returns the exit code: 1 if there is an error */
export async function check(configFile: string | undefined): Promise<number> {
  const path = findConfigFile(configFile)
  let config: Config
  try {
    config = await loadConfigFile(path, { credentials: 'optional' })
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    tell(error.problems)
    console.log(`\n${shortPath(path)}: ${countFindings(error.problems)}; nothing else was checked.`)
    return EXIT.failed
  }
  const known = await knownPlugins(config)
  const folder = parsed(() => dataPathOf(config))
  const owner = folder === undefined ? undefined : becomeOwnerOf(folder)
  const accounts = new StoredAccounts(config)
  const { options, setup, plugins } = await examineConfig(config, known, accounts.exists)
  const misnamed = await misnamedAccounts(config, accounts)
  const problems = [...options, ...setup, ...plugins, ...misnamed, ...(await examineFiles(config))]
  await accounts.close()
  if (accounts.failure !== undefined) {
    problems.push({ severity: 'error', message: accounts.failure.message })
  }
  const found = inOrder(problems)
  tell(found)
  if (found.length > 0) console.log()
  if (owner !== undefined) console.log(`Checked as the user ${owner}, whose data folder it is.`)
  console.log(`${shortPath(path)}: ${describe(config)}: ${countFindings(found)}.`)
  return found.some(({ severity }) => severity === 'error') ? EXIT.failed : EXIT.ok
}

/** Accounts that nobody can log in to by their names, which were allowed once. */
async function misnamedAccounts(config: Config, accounts: StoredAccounts): Promise<ConfigProblem[]> {
  const problems: ConfigProblem[] = []
  for (const { name: host, type } of servedHosts(config)) {
    if (type !== 'host') continue
    const { count, names } = await accounts.misnamed(host)
    const [first] = names
    if (first === undefined) continue
    const told = names.map((name) => `"${escapeUnsafe(name)}"`).join(', ')
    const more = count > names.length ? `, and ${count - names.length} more` : ''
    const message =
      `${plural(count, 'account')} of ${host} can not be used: no JID has such a name any more (RFC 7622): ` +
      `${told}${more}. To remove one, with all that is stored of it: ` +
      `legate deluser '${escapeUnsafe(joinJid(first, host))}'`
    problems.push({ severity: 'warning', message, host })
  }
  return problems
}

function tell(problems: readonly ConfigProblem[]): void {
  for (const problem of problems) console.log(formatFinding(problem, mayColour(process.stdout)))
}

function describe(config: Config): string {
  const count = (wanted: 'host' | 'component') =>
    servedHosts(config).filter(({ type }) => type === wanted).length
  return `${plural(count('host'), 'host')}, ${plural(count('component'), 'component')}`
}
