// The configuration: prosody.cfg.lua or an object, checked, and looked up per host.

export { checkOptions } from './check.ts'
export { Config, type ConfigParts, type HostDeclaration, type SetOption } from './config.ts'
export type { RateLimit } from './connection-options.ts'
export { loadConfigFile } from './file.ts'
export * as kinds from './kinds.ts'
export { type LogLevel, type LogRule, logLevels } from './log-option.ts'
export type { LuaFileOptions } from './lua-file.ts'
export { autoloadedModules, inheritedByComponents } from './modules.ts'
export { nearest } from './nearest.ts'
export { type ComponentOptions, configFromObject, type HostOptions, type ServerOptions } from './object.ts'
export { type OptionSpec, option, optionProblem, parseOption, readOption } from './option-spec.ts'
export {
  allCoreOptions,
  c2sOptions,
  componentOptions,
  coreOptions,
  delegationOptions,
} from './options.ts'
export { ConfigError, type ConfigProblem, formatProblem, type SourcePosition } from './problems.ts'
export { insteadOfModule, needlessModules } from './prosody-modules.ts'
export { prosodyOnlyOptions } from './prosody-options.ts'
