// Looks at what a configuration needs on the disk: certificates, the data folder, log files. Nothing is made.

import { accessSync, constants, existsSync, statSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { type Config, type ConfigProblem, optionProblem } from '../config/index.ts'
import { type Logger, silentLogger } from '../log.ts'
import { readLogOption } from '../log-option.ts'
import { findCertificate } from '../net/certificate-files.ts'
import { loadTlsMaterial } from '../net/certificates.ts'
import { dataPathOf, tlsOptionsOf } from '../server.ts'
import { redisFiles } from './examine-redis.ts'
import { parsed, STORAGE_FILE, servedHosts } from './reading.ts'

/** What is wrong with the files of a configuration. */
export async function examineFiles(config: Config): Promise<ConfigProblem[]> {
  const problems = [...dataFolder(config), ...logFiles(config), ...redisFiles(config)]
  for (const { name, type } of servedHosts(config)) {
    if (type === 'host') problems.push(...(await certificate(config, name)))
  }
  return problems
}

async function certificate(config: Config, host: string): Promise<ConfigProblem[]> {
  const options = parsed(() => tlsOptionsOf(config, host))
  if (options === undefined) return []
  const option = ['certificate', 'ssl', 'certificates'].find((name) => config.has(host, name))
  const tell = (severity: 'error' | 'warning', message: string): ConfigProblem => {
    if (option !== undefined) return optionProblem(config, severity, host, option, message)
    const { position } = config.hosts.find(({ name }) => name === host)!
    return { severity, message, host, position }
  }
  const { ssl = {}, certificates = '' } = options
  const named = ssl['certificate'] !== undefined || ssl['key'] !== undefined
  if (!named && (await findCertificate(certificates, host)) === undefined) {
    return [
      tell(
        'warning',
        `no certificate for ${host} was found in ${certificates}: a self-signed one is used, which clients do not ` +
          'trust unless they are told to',
      ),
    ]
  }
  const warnings: string[] = []
  try {
    await loadTlsMaterial(options, collector(warnings))
  } catch (error) {
    return [tell('error', error instanceof Error ? error.message : String(error))]
  }
  return warnings.map((warning) => tell('warning', warning))
}

/** A logger that keeps the warnings, with the file that they are about. */
function collector(warnings: string[]): Logger {
  return {
    ...silentLogger,
    warn(message, fields) {
      const file = fields?.['file']
      warnings.push(typeof file === 'string' ? `${message} (${file})` : message)
    },
  }
}

function dataFolder(config: Config): ConfigProblem[] {
  const folder = parsed(() => dataPathOf(config))
  if (folder === undefined) return []
  const tell = (message: string) => [optionProblem(config, 'error', '*', 'data_path', message)]
  const present = nearestPresent(folder)
  if (!statSync(present).isDirectory()) {
    return tell(`the data folder ${folder} can not be used: ${present} is a file, not a folder`)
  }
  if (!isAllowed(present, constants.W_OK | constants.X_OK)) {
    const what = present === folder ? 'can not be written to' : `can not be made in ${present}`
    return tell(`the data folder ${folder} ${what} by ${who()}: give it to the user that runs the server`)
  }
  for (const file of [STORAGE_FILE, `${STORAGE_FILE}-lock`]) {
    const path = join(folder, file)
    if (existsSync(path) && !isAllowed(path, constants.R_OK | constants.W_OK)) {
      return tell(`${path} can not be written to by ${who()}: give it to the user that runs the server`)
    }
  }
  return []
}

function logFiles(config: Config): ConfigProblem[] {
  const problems: ConfigProblem[] = []
  for (const { filename } of readLogOption(config.get('*', 'log')).rules) {
    if (filename === undefined) continue
    const path = resolve(config.directory, filename)
    const place = existsSync(path) ? path : dirname(path)
    if (isAllowed(place, constants.W_OK)) continue
    const why = existsSync(place)
      ? `can not be written to by ${who()}`
      : 'can not be made: its folder is not there'
    const message = `the log file ${path} ${why}; what should go there goes to the console`
    problems.push(optionProblem(config, 'warning', '*', 'log', message))
  }
  return problems
}

/** The path itself, or the folder above it that is there. */
function nearestPresent(path: string): string {
  let present = path
  while (!existsSync(present)) present = dirname(present)
  return present
}

function isAllowed(path: string, mode: number): boolean {
  try {
    accessSync(path, mode)
    return true
  } catch {
    return false
  }
}

function who(): string {
  return `this user (uid ${process.getuid?.() ?? 'unknown'})`
}
