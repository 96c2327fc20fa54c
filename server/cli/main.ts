#!/usr/bin/env node
// The command `legate`.

import { createRequire } from 'node:module'
import { Command, CommanderError, Option } from 'commander'
import { addUser, changePassword, deleteUser, register } from './accounts.ts'
import { check } from './check.ts'
import { CONFIG_PLACES } from './config-file.ts'
import { EXIT, explain } from './failure.ts'
import { start } from './start.ts'

const { version } = createRequire(import.meta.url)('legate/package.json') as { version: string }

/** What a command is given besides its arguments. */
interface Options {
  config?: string
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
  .exitOverride()

let code: number = EXIT.ok

/** Declares a command; what it returns is the exit code. */
function command(
  usage: string,
  summary: string,
  details: string,
  act: (config: string | undefined, words: string[]) => Promise<number>,
): void {
  program
    .command(usage)
    .summary(summary)
    .description(details)
    .action(async (...all: unknown[]) => {
      const self = all.pop() as Command
      all.pop() // its own options: it has none
      code = await act(self.optsWithGlobals<Options>().config, all as string[])
    })
}

command(
  'start',
  'Run the server in the foreground.',
  'Run the server in the foreground. SIGTERM and SIGINT (Ctrl-C) end all streams properly; a second one ends ' +
    'the server at once. SIGHUP reads the configuration again and reopens the log files.',
  (config) => start(config),
)
command(
  'check',
  'Tell every mistake in the configuration.',
  'Tell every mistake in the configuration. The exit code is 1 if there is an error; warnings leave it 0. ' +
    'Nothing is changed.',
  (config) => check(config),
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
    'Sessions that are open stay open; the new password is needed at the next login.',
  (config, [jid = '']) => changePassword(config, jid),
)
command(
  'deluser <jid>',
  'Delete an account with all that is stored of it.',
  'Delete an account with all that is stored of it. A running server ends its sessions within seconds.',
  (config, [jid = '']) => deleteUser(config, jid),
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
