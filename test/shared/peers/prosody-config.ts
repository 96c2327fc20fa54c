// Writes a prosody.cfg.lua: read by Prosody, and by Legate, which takes the same file.

/** What a configuration can hold, as Lua writes it. */
export type LuaValue = string | number | boolean | readonly LuaValue[] | { readonly [key: string]: LuaValue }

/** Options by name. */
export type LuaOptions = Readonly<Record<string, LuaValue>>

/** A `Component` section. */
export interface ComponentSection {
  /** The shared secret of XEP-0114; with none, `module` names an internal component. */
  secret?: string
  module?: string
  options?: LuaOptions
}

/** A whole configuration. */
export interface ConfigFile {
  globals: LuaOptions
  /** VirtualHosts by name, with their options. */
  hosts: Readonly<Record<string, LuaOptions>>
  /** Components by name. */
  components?: Readonly<Record<string, ComponentSection>>
}

/** The text of a prosody.cfg.lua. */
export function configText(config: ConfigFile): string {
  const lines = optionLines(config.globals, '')
  for (const [host, options] of Object.entries(config.hosts)) {
    lines.push('', `VirtualHost ${luaText(host)}`, ...optionLines(options, '  '))
  }
  for (const [name, { secret, module, options }] of Object.entries(config.components ?? {})) {
    lines.push('', `Component ${luaText(name)}${module === undefined ? '' : ` ${luaText(module)}`}`)
    if (secret !== undefined) lines.push(`  component_secret = ${luaText(secret)}`)
    lines.push(...optionLines(options ?? {}, '  '))
  }
  return `${lines.join('\n')}\n`
}

/** A value as a Lua expression. */
export function luaText(value: LuaValue): string {
  if (typeof value === 'string') return `"${value.replace(/[\\"\n\r\0]/g, escapeCharacter)}"`
  if (typeof value === 'number' || typeof value === 'boolean') return String(value)
  if (isList(value)) return `{ ${value.map(luaText).join(', ')} }`
  const fields = Object.entries(value).map(([key, field]) => `[${luaText(key)}] = ${luaText(field)}`)
  return `{ ${fields.join(', ')} }`
}

function optionLines(options: LuaOptions, indent: string): string[] {
  return Object.entries(options).map(([name, value]) => `${indent}${name} = ${luaText(value)}`)
}

function escapeCharacter(character: string): string {
  return `\\${String(character.charCodeAt(0)).padStart(3, '0')}`
}

function isList(value: LuaValue): value is readonly LuaValue[] {
  return Array.isArray(value)
}
