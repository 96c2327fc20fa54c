// Reads prosody.cfg.lua: what the Lua thread brings back becomes a Config.

import { dirname, resolve } from 'node:path'
import { prepareDomain } from '../jid-profiles.ts'
import { Config, GLOBAL, type HostDeclaration, isEnabled, type SetOption } from './config.ts'
import { type LuaFileOptions, namePaths, runLuaFile } from './lua-file.ts'
import { knownOptionNames } from './options.ts'
import { ConfigError, type ConfigProblem, type SourcePosition } from './problems.ts'
import { decodeValue, type EncodedValue } from './values.ts'

/** What the Lua part writes; see lua-prelude.js. */
interface LuaAnswer {
  hosts: { name: string; kind: 'host' | 'component'; module?: string; file: number; line: number }[]
  options: {
    host: string
    name: string
    file: number
    line: number
    value: EncodedValue
    taken: string[]
  }[]
  problems: {
    severity: 'error' | 'warning'
    message: string
    host?: string
    option?: string
    file: number
    line: number
    /** A name that was read and has no value. */
    unset?: string
    /** The option is a function, which is harmless unless the option is one that is known. */
    helper?: boolean
  }[]
}

/**
 * Reads a configuration file through Lua.
 *
 * Tables become arrays where they are a sequence (an empty table as well), else objects without a prototype:
 * the keys as text, and what a mixed table has in sequence under `"1"`, `"2"`, …
 *
 * @param path of the file; relative to the working directory
 * @throws ConfigError naming file and line: it cannot be read, is no Lua, raises an error, does not end in
 *   time, takes too much memory, or sets what no option can hold
 */
export async function loadConfigFile(path: string, options: LuaFileOptions = {}): Promise<Config> {
  const absolute = resolve(path)
  const { json, files } = await runLuaFile(absolute, options)
  const answer = JSON.parse(json) as LuaAnswer
  const at = (from: { file: number; line: number }): SourcePosition => ({
    file: files.get(from.file) ?? absolute,
    ...(from.line > 0 && { line: from.line }),
  })

  const problems: ConfigProblem[] = []
  const known = knownOptionNames()
  for (const found of answer.problems) {
    // Reading an option that nobody set yet is no mistake; a misspelt or unquoted word is.
    if (found.unset !== undefined && known.has(found.unset)) continue
    const needed = found.helper === true && found.option !== undefined && known.has(found.option)
    problems.push({
      severity: needed ? 'error' : found.severity,
      message: namePaths(found.message, files),
      ...(found.host !== undefined && found.host !== GLOBAL && { host: found.host }),
      ...(found.option !== undefined && { option: found.option }),
      position: at(found),
    })
  }

  const sections = new Map<string, Map<string, SetOption>>([[GLOBAL, new Map()]])
  const hosts: HostDeclaration[] = []
  /** The host's prepared name by the one in the file, lowercased. */
  const prepared = new Map<string, string>([[GLOBAL, GLOBAL]])
  for (const { name, kind, module, ...place } of answer.hosts) {
    const domain = prepareDomain(name)
    const what = kind === 'host' ? 'VirtualHost' : 'Component'
    const wrong = domain === undefined ? 'is not a name that a domain can have' : undefined
    if (domain === undefined || sections.has(domain)) {
      problems.push({
        severity: 'error',
        message: `${what} "${name}" ${wrong ?? `is the same domain as "${domain}", which is declared already`}`,
        position: at(place),
      })
      continue
    }
    prepared.set(name, domain)
    sections.set(domain, new Map())
    hosts.push({
      name: domain,
      type: kind,
      ...(module !== undefined && { module }),
      enabled: true,
      position: at(place),
    })
  }
  for (const { host, name, value, taken, ...place } of answer.options) {
    const section = sections.get(prepared.get(host) ?? '')
    section?.set(name, {
      value: decodeValue(value),
      position: at(place),
      ...(taken.length > 0 && { taken }),
    })
  }
  if (problems.some(({ severity }) => severity === 'error')) {
    throw new ConfigError(problems.filter(({ severity }) => severity === 'error'))
  }
  for (const host of hosts) host.enabled = isEnabled(sections.get(host.name)?.get('enabled')?.value)
  return new Config({
    path: absolute,
    directory: dirname(absolute),
    hosts,
    options: sections,
    warnings: problems,
  })
}
