// Options looked at by their specs: kinds, coercions, defaults, unknown names; plugins per host; objects.

import { describe, expect, it } from 'vitest'
import * as z from 'zod'
import {
  allCoreOptions,
  ConfigError,
  c2sOptions,
  checkOptions,
  componentOptions,
  configFromObject,
  coreOptions,
  delegationOptions,
  formatProblem,
  option,
  readOption,
  type ServerOptions,
} from '../../server/config/index.ts'

const problemsOf = (options: Record<string, unknown>) =>
  checkOptions(configFromObject(options), allCoreOptions).map(
    (problem) => `${problem.severity}: ${formatProblem(problem)}`,
  )

describe('kinds', () => {
  it.each([
    [{ modules_enabled: 5 }, 'error: modules_enabled must be a list of names, is 5'],
    [{ modules_enabled: { a: 1 } }, 'error: modules_enabled must be a list of names, is a table'],
    [{ modules_enabled: true }, 'error: modules_enabled must be a list of names, is true'],
    [{ modules_enabled: ['a', {}] }, 'error: modules_enabled[2] must be a name, is a table'],
    [{ c2s_ports: 'many' }, 'error: c2s_ports must be a list of ports, is "many"'],
    [{ c2s_ports: [70000] }, 'error: c2s_ports[1] must be a whole number from 0 to 65535, is 70000'],
    [{ c2s_require_encryption: 'yes' }, 'error: c2s_require_encryption must be true or false, is "yes"'],
    [
      { c2s_stanza_size_limit: 100 },
      'error: c2s_stanza_size_limit must be a whole number of at least 10000, is 100',
    ],
    [{ c2s_timeout: '5 m' }, 'error: c2s_timeout must be a number of seconds or a period'],
    [{ conflict_resolve: 'kick' }, 'error: conflict_resolve must be one of "kick_old", "kick_new"'],
    [{ storage: { accounts: 'memory' } }, undefined],
    [{ storage: true }, 'error: storage must be one of "internal", "memory", "redis", or a table'],
    [{ ssl: 'x' }, 'error: ssl must be a table such as'],
    [{ ssl: { key: {} } }, 'error: ssl.key must be a file name'],
    [
      { limits: { c2s: { rate: 'fast' } } },
      'error: limits.c2s.rate must be a rate such as "10kb/s", is "fast"',
    ],
    [{ limits: { c2s: 5 } }, 'error: limits.c2s must be a table such as { rate'],
    [{ limits: { c2s: {} } }, 'error: limits.c2s.rate is missing: it must be a rate'],
    [{ log: { loud: 'x.log' } }, 'error: log has the level "loud": the levels are debug, info, warn, error'],
    [{ log: { info: '*paper' } }, 'error: log goes to "paper"'],
    [{ log: 5 }, 'error: log must be a file name, or a table'],
    [{ admins: ['not a jid'] }, 'error: admins[1] must be the JID of an account'],
    [{ delegations: ['x'] }, 'error: delegations must be a table from namespaces'],
    [{ disco_items: [['', 'x']] }, 'error: disco_items[1] must be { "jid", "name" }'],
    [{ component_secret: { a: 'sesame' } }, 'error: component_secret must be text'],
  ])('%j', (options, message) => {
    const problems = problemsOf(options as Record<string, unknown>)
    if (message === undefined) expect(problems).toEqual([])
    else {
      expect(problems).toHaveLength(1)
      expect(problems[0]).toContain(message)
      expect(problems[0]).not.toContain('sesame')
    }
  })

  it('names host and option', () => {
    const config = configFromObject({
      virtualHosts: { 'capulet.lit': { modules_enabled: {} as [], c2s_timeout: 'x' } },
    })
    const problems = checkOptions(config, allCoreOptions)
    expect(problems).toMatchObject([{ severity: 'error', host: 'capulet.lit', option: 'c2s_timeout' }])
    expect(formatProblem(problems[0]!)).toMatch(/^host capulet\.lit: c2s_timeout must be/)
  })

  it('unknown options: a near name is proposed, Prosody’s own are told gently', () => {
    expect(problemsOf({ modules_enabeld: [] })).toEqual([
      'warning: the option modules_enabeld is not known: did you mean modules_enabled?',
    ])
    expect(problemsOf({ http_ports: [5280] })).toEqual([
      'warning: http_ports is an option of Prosody that Legate does not use',
    ])
    expect(problemsOf({ zzzzzz: 1, [`x${'y'.repeat(10_000)}`]: 1 })).toHaveLength(2)
  })

  it('misplaced options and internal_plain are told', () => {
    const config = configFromObject({
      enabled: true,
      authentication: 'internal_plain',
      virtualHosts: { 'a.lit': { c2s_ports: [1] } },
    })
    const problems = checkOptions(config, allCoreOptions)
    expect(problems.map(({ severity }) => severity)).toEqual(['warning', 'warning', 'warning'])
    expect(problems.map(({ option }) => option)).toEqual(['enabled', 'authentication', 'c2s_ports'])
  })
})

describe('coercions and defaults', () => {
  it('are Prosody’s', () => {
    const config = configFromObject({
      c2s_ports: '5223' as unknown as number,
      modules_enabled: 'roster',
      c2s_require_encryption: 'false' as unknown as boolean,
      c2s_timeout: '2 min',
      delegation_timeout: 'never',
      delegations: [] as unknown as Record<string, unknown>,
      admins: {} as unknown as string[],
      name: 5 as unknown as string,
      limits: { c2s: { rate: '10kb/s' }, component: { rate: '1 MB/s', burst: '3s' } },
      component_conflict_resolve: ['kick_old'] as unknown as 'kick_old',
    })
    expect(checkOptions(config, allCoreOptions)).toEqual([])
    expect(readOption(config, '*', 'c2s_ports', c2sOptions.c2s_ports)).toEqual([5223])
    expect(readOption(config, '*', 'modules_enabled', coreOptions.modules_enabled)).toEqual(['roster'])
    expect(readOption(config, '*', 'c2s_require_encryption', c2sOptions.c2s_require_encryption)).toBe(false)
    expect(readOption(config, '*', 'c2s_timeout', c2sOptions.c2s_timeout)).toBe(120)
    expect(readOption(config, '*', 'delegation_timeout', delegationOptions.delegation_timeout)).toBe(
      Number.POSITIVE_INFINITY,
    )
    expect(readOption(config, '*', 'delegations', delegationOptions.delegations)).toEqual({})
    expect(readOption(config, '*', 'admins', coreOptions.admins)).toEqual([])
    expect(readOption(config, '*', 'name', coreOptions.name)).toBe('5')
    expect(readOption(config, '*', 'limits', coreOptions.limits)).toEqual({
      c2s: { rate: 10_000, burst: 2 },
      component: { rate: 1_000_000, burst: 3 },
    })
    expect(
      readOption(config, '*', 'component_conflict_resolve', componentOptions.component_conflict_resolve),
    ).toBe('kick_old')
  })

  it('every option can be absent', () => {
    const config = configFromObject({})
    for (const [name, spec] of allCoreOptions) expect(() => readOption(config, '*', name, spec)).not.toThrow()
    expect(readOption(config, '*', 'c2s_ports', c2sOptions.c2s_ports)).toEqual([5222])
    expect(readOption(config, '*', 'c2s_require_encryption', c2sOptions.c2s_require_encryption)).toBe(true)
    expect(readOption(config, '*', 'component_secret', componentOptions.component_secret)).toBeUndefined()
  })

  it('log in all of its forms', () => {
    const read = (log: ServerOptions['log']) =>
      readOption(configFromObject({ log }), '*', 'log', coreOptions.log)?.map(
        ({ levels, to, filename }) => `${levels.join()} ${to}${filename ? ` ${filename}` : ''}`,
      )
    expect(read('a.log')).toEqual(['info,warn,error file a.log'])
    expect(read('*console')).toEqual(['debug,info,warn,error console'])
    expect(
      read({ info: 'a.log', error: '*syslog', '1': { levels: ['debug'], to: 'console' } })?.sort(),
    ).toEqual(['debug console', 'error syslog', 'info,warn,error file a.log'])
    expect(read([{ levels: { min: 'info', max: 'warn' }, to: 'file', filename: 'b' }, '*stdout'])).toEqual([
      'info,warn file b',
      'debug,info,warn,error stdout',
    ])
  })

  it('a plugin’s own schema works alike', () => {
    const spec = option({
      schema: z
        .object({ to: z.string(), items: z.record(z.string(), z.string()).optional() })
        .default({ to: 'x' }),
      description: 'of a plugin',
    })
    const known = new Map([['motto', spec]])
    expect(readOption(configFromObject({}), '*', 'motto', spec)).toEqual({ to: 'x' })
    expect(checkOptions(configFromObject({ motto: { to: 5 } }), known).map(formatProblem)).toEqual([
      expect.stringMatching(/^motto\.to: /),
    ])
    expect(() => readOption(configFromObject({ motto: 1 }), '*', 'motto', spec)).toThrow(ConfigError)
  })
})

describe('plugins of a host', () => {
  const config = configFromObject({
    modules_enabled: ['roster', 'tls', 'saslauth', 'ping', 'iq'],
    modules_disabled: ['message'],
    virtualHosts: {
      'a.lit': {},
      'b.lit': { modules_enabled: ['pep', 'message'], modules_disabled: ['ping', 'presence'] },
    },
    components: {
      'ext.lit': {},
      'muc.lit': { module: 'muc', modules_enabled: ['muc_mam', 'roster'], modules_disabled: ['tls', 'muc'] },
    },
  })

  it('a host has the autoloaded, the global and its own', () => {
    expect(config.modulesFor('a.lit')).toEqual([
      ...['presence', 'iq', 'offline', 'c2s', 'roster', 'tls', 'saslauth', 'ping'],
    ])
    expect(config.modulesFor('b.lit')).toEqual([
      ...['iq', 'offline', 'c2s', 'roster', 'tls', 'saslauth', 'pep', 'message'],
    ])
  })

  it('a component has its module, its own, and of the global ones the few that Prosody hands on', () => {
    expect(config.modulesFor('ext.lit')).toEqual(['component', 'iq', 'tls', 'saslauth'])
    expect(config.modulesFor('muc.lit')).toEqual(['muc', 'iq', 'saslauth', 'muc_mam', 'roster'])
  })
})

describe('configFromObject', () => {
  it('has hosts, then components, with prepared names', () => {
    const config = configFromObject({
      name: 'all',
      virtualHosts: { 'Capulet.LIT': { name: 'own' } },
      components: { 'x.capulet.lit': { module: 'muc', component_secret: 's' } },
    })
    expect(config.hosts).toEqual([
      { name: 'capulet.lit', type: 'host', enabled: true },
      { name: 'x.capulet.lit', type: 'component', module: 'muc', enabled: true },
    ])
    expect(config.get('capulet.lit', 'name')).toBe('own')
    expect(config.get('x.capulet.lit', 'name')).toBe('all')
    expect(config.optionNames('x.capulet.lit')).toEqual(['component_secret'])
    expect(config.optionNames('*')).toEqual(['name'])
    expect(config.path).toBeUndefined()
  })

  it.each([
    [{ virtualHosts: ['a'] }, 'virtualHosts must be an object'],
    [{ virtualHosts: { 'a b': {} } }, 'is not a name that a domain can have'],
    [{ virtualHosts: { 'a.lit': 5 } }, 'virtualHosts["a.lit"] must be an object'],
    [{ virtualHosts: { 'a.lit': {} }, components: { 'A.lit': {} } }, 'a.lit is declared twice'],
    [{ components: { 'a.lit': { module: 5 } } }, 'module must be a name'],
  ])('%j is refused', (options, message) => {
    expect(() => configFromObject(options as unknown as ServerOptions)).toThrow(message)
  })
})
