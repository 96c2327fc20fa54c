/** Makes a server from options or from a configuration that was read from a file. */

import { type Config, configFromObject, coreOptions, readOption, type ServerOptions } from './config/index.ts'
import { createLogger, type Log, type Logger } from './log.ts'
import { Server } from './server.ts'

/**
 * Makes a server; `start` it then.
 *
 * ```ts
 * const server = createServer({ virtualHosts: { 'example.org': {} }, storage: 'memory' })
 * await server.start()
 * ```
 *
 * @param options - the same options as in `prosody.cfg.lua`, or a configuration that was read from one
 * @param log - the default is made from the option `log`
 * @throws ConfigError with every mistake in the options
 */
export function createServer(options: ServerOptions | Config, log?: Logger): Server {
  const config = isConfig(options) ? options : configFromObject(options)
  return new Server(config, log ?? openLog(config).logger)
}

function isConfig(options: ServerOptions | Config): options is Config {
  return typeof (options as Partial<Config>).modulesFor === 'function'
}

/**
 * Opens the log that the options `log`, `debug` and `log_format` describe; what of them can not be honoured is
 * logged as a warning.
 *
 * @param worker - the number of the worker whose log it is, which its lines then tell
 */
export function openLog(config: Config, worker?: number): Log {
  const log = createLogger(config.get('*', 'log'), {
    directory: config.directory,
    format: readOption(config, '*', 'log_format', coreOptions.log_format),
    debug: readOption(config, '*', 'debug', coreOptions.debug),
    worker,
  })
  for (const problem of log.problems) log.logger.warn(problem)
  return log
}
