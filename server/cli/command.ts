// The command `legate`: its subcommands, and what each is told.

import { createRequire } from 'node:module'
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander'
import { addUser, changePassword, deleteUser, register, restoreUser } from './accounts.ts'
import { check } from './check.ts'
import { CONFIG_PLACES } from './config-file.ts'
import { delegations } from './delegations.ts'
import { exportAccounts } from './export.ts'
import { EXIT, explain } from './failure.ts'
import { importAccounts } from './import.ts'
import { reload } from './reload.ts'
import { start } from './start.ts'
import { status } from './status.ts'
import { startWorker } from './worker.ts'
import { MOST_WORKERS } from './worker-config.ts'

const { version } = createRequire(import.meta.url)('legate/package.json') as { version: string }

/** What a command is given besides its arguments. */
interface Options {
  config?: string
  json?: boolean
  disconnect?: boolean
  workers?: number
  worker?: number
  fromProsody?: boolean
  host?: string
  user?: string
  replace?: boolean
  dryRun?: boolean
}

const program = new Command('legate')
  .description('An XMPP server whose speciality is namespace delegation (XEP-0355).')
  .version(version, '-V, --version', 'Tell the version.')
  .helpOption('-h, --help', 'Tell how a command is used.')
  .helpCommand('help [command]', 'Tell how a command is used.')
  .addOption(new Option('-c, --config <file>', 'The configuration.').env('LEGATE_CONFIG'))
  .configureHelp({ showGlobalOptions: true })
  .addHelpText(
    'after',
    `
Without --config the configuration is the first of these that is there:
${CONFIG_PLACES.map((place) => `  ${place.startsWith('/') ? '' : './'}${place}`).join('\n')}

Exit codes: 0 done, 1 it could not be done, 2 the command was not understood.`,
  )
  .showHelpAfterError('"legate help COMMAND" tells how a command is used.')
  .configureOutput({ outputError: (text, write) => write(text.replace(/^error:/, 'legate:')) })
  .exitOverride()

let code: number = EXIT.ok

/** Declares a command; what it returns is the exit code. */
function command(
  usage: string,
  summary: string,
  details: string,
  act: (config: string | undefined, words: (string | undefined)[], options: Options) => Promise<number>,
  ...options: Option[]
): void {
  const declared = program
    .command(usage)
    .summary(summary)
    .description(details)
    .action(async (...all: unknown[]) => {
      const self = all.pop() as Command
      all.pop() // its own options, which are also among all
      const given = self.optsWithGlobals<Options>()
      code = await act(given.config, all as (string | undefined)[], given)
    })
  for (const option of options) declared.addOption(option)
}

function workerCount(text: string): number {
  const count = Number(text)
  if (/^\d+$/.test(text) && count >= 2 && count <= MOST_WORKERS) return count
  throw new InvalidArgumentError(
    `It must be a number from 2 to ${MOST_WORKERS}; without it there is one process.`,
  )
}

const JSON_OPTION = new Option('--json', 'Write JSON, for programs.')
const HOST_OPTION = new Option('--host <host>', 'Only accounts of this host.')
const USER_OPTION = new Option('--user <user>', 'Only this account: a JID, or with --host a user name.')

command(
  'start',
  'Run the server in the foreground.',
  'Run the server in the foreground. SIGTERM and SIGINT (Ctrl-C) end all streams properly; a second one ends ' +
    'the server at once. SIGHUP reads the configuration again and reopens the log files.\n\n' +
    'With --workers it is several processes that share the ports and are one server by the option cluster. One ' +
    'that dies is started again, and they end one after another.',
  (config, _, { workers, worker }) =>
    worker === undefined ? start(config, workers) : startWorker(config, worker),
  new Option('--workers <number>', `How many processes, 2 to ${MOST_WORKERS}.`).argParser(workerCount),
  // What the processes are started with.
  new Option('--worker <number>').argParser(Number).hideHelp(),
)
command(
  'check',
  'Tell every mistake in the configuration.',
  'Tell every mistake in the configuration. The exit code is 1 if there is an error; warnings leave it 0. ' +
    'Nothing is changed.',
  (config) => check(config),
)
command(
  'status',
  'Tell how the running server is doing.',
  'Tell how the running server is doing: its sessions and components, memory and processor time, and what it last ' +
    'logged as warnings and errors.',
  (config, _, { json = false }) => status(config, json),
  JSON_OPTION,
)
command(
  'delegations [host]',
  'Tell what is delegated to whom, and how it goes.',
  'Tell for every host and namespace that is delegated who manages it, whether the manager is connected, how many ' +
    'requests wait and how the others have ended since the server has the host, and how long the replies took.',
  (config, [host], { json = false }) => delegations(config, host, json),
  JSON_OPTION,
)
command(
  'reload',
  'Let the running server read its configuration again.',
  'Let the running server read its configuration and certificates again and reopen its log files, as at SIGHUP. ' +
    'With mistakes in the configuration it goes on with the old one: they are told, and the exit code is 1.',
  (config, _, { json = false }) => reload(config, json),
  JSON_OPTION,
)
command(
  'register <user> <host> <password>',
  'Add an account, for scripts.',
  'Add an account. Other users of this machine can see the password while the command runs: people better ' +
    'use "legate adduser".',
  (config, [user = '', host = '', password = '']) => register(config, user, host, password),
)
command(
  'adduser <jid>',
  'Add an account; asks for the password.',
  'Add an account. The password is asked for, or read from the first line of standard input.',
  (config, [jid = '']) => addUser(config, jid),
)
command(
  'passwd <jid>',
  'Change the password of an account.',
  'Change the password of an account. It is asked for, or read from the first line of standard input. ' +
    'Sessions that are open stay open, unless --disconnect is given; the new password is needed at the next login.',
  (config, [jid = ''], { disconnect = false }) => changePassword(config, jid, disconnect),
  new Option('--disconnect', 'End the sessions of the account that are open.'),
)
command(
  'restore <jid>',
  'Restore an account that was removed by who had it.',
  'Restore an account that was removed in-band, as long as registration_delete_grace_period keeps it. Its password ' +
    'and all that was stored of it are as they were.',
  (config, [jid = '']) => restoreUser(config, jid),
)
command(
  'deluser <jid>',
  'Delete an account with all that is stored of it.',
  'Delete an account with all that is stored of it. A running server ends its sessions.',
  (config, [jid = '']) => deleteUser(config, jid),
)

command(
  'import <path>',
  'Take over accounts from a file, or from Prosody.',
  'Take over accounts, with their passwords, contacts and messages, from a file of the Portable Import/Export Format ' +
    '(XEP-0227; "-" is standard input), or with --from-prosody from the data folder of a Prosody. Of an account ' +
    'everything is taken over or nothing: what stands in the way is told, with file and line, the other accounts are ' +
    'imported, and the exit code is 1. Accounts that are there already stay as they are, so that an import can be ' +
    'repeated.',
  (config, [path = ''], { fromProsody = false, host, user, replace = false, dryRun = false }) =>
    importAccounts(config, { path, prosody: fromProsody, host, user, replace, dryRun }),
  new Option('--from-prosody', 'The path is the data_path of a Prosody with storage = "internal".'),
  HOST_OPTION,
  USER_OPTION,
  new Option('--replace', 'Accounts that are there already give way. The server has to be stopped.'),
  new Option('--dry-run', 'Read everything, tell what would not work, and change nothing.'),
)
command(
  'export <file>',
  'Write accounts to a file.',
  'Write accounts, with their passwords (as SCRAM keys), contacts and messages, to a file of the Portable ' +
    'Import/Export Format (XEP-0227; "-" is standard output). Only its owner can read the file: who has it can try ' +
    'passwords on it.',
  (config, [path = ''], { host, user }) => exportAccounts(config, { path, host, user }),
  HOST_OPTION,
  USER_OPTION,
)

// Who reads our output may go first, as in `legate check | head`.
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {})

try {
  await program.parseAsync()
} catch (error) {
  if (error instanceof CommanderError) {
    code = error.exitCode === 0 ? EXIT.ok : EXIT.usage
  } else {
    console.error(explain(error))
    code = EXIT.failed
  }
}
process.exit(code)
