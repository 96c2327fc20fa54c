/** Makes a server from options or from a configuration that was read from a file. */

import { type Config, configFromObject, type ServerOptions } from './config/index.ts'
import { createLogger, type Logger } from './log.ts'
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
  return new Server(config, log ?? loggerOf(config))
}

function isConfig(options: ServerOptions | Config): options is Config {
  return typeof (options as Partial<Config>).modulesFor === 'function'
}

function loggerOf(config: Config): Logger {
  const format = config.get('*', 'log_format') === 'json' ? 'json' : 'text'
  const { logger, problems } = createLogger(config.get('*', 'log'), { directory: config.directory, format })
  for (const problem of problems) logger.warn(problem)
  return logger
}
