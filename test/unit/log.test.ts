// The log: where records go by the `log` option, how they read, and that nobody can forge one.
import { existsSync, mkdtempSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Writable } from 'node:stream'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { createLogger, type Log, silentLogger } from '../../server/log.ts'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'legate-log-'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

class Screen extends Writable {
  text = ''
  isTTY = false

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.text += chunk.toString()
    done()
  }

  get lines(): string[] {
    return this.text.split('\n').slice(0, -1)
  }
}

function open(option?: unknown, format?: 'text' | 'json'): Log & { screen: Screen } {
  const screen = new Screen()
  return { ...createLogger(option, { directory: folder, stdout: screen, format }), screen }
}

const read = (name: string): string => readFileSync(join(folder, name), 'utf8')

/** The levels that reach a text, after one record of each. */
function levelsIn(text: string): string[] {
  return text.split('\n').flatMap((line) => line.match(/\b(debug|info|warn|error)\b(?= {2,})/)?.[1] ?? [])
}

function logAll({ logger }: Log): void {
  logger.debug('d')
  logger.info('i')
  logger.warn('w')
  logger.error('e')
}

describe('a line for people', () => {
  it('has time, level, name, host, message and fields', () => {
    const { logger, screen } = open()
    logger
      .child('c2s', { host: 'capulet.lit' })
      .info('authenticated', { jid: 'juliet@capulet.lit', ms: 3, ok: true })
    expect(screen.text).toMatch(
      /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d info {3}c2s {2}capulet\.lit {2}authenticated jid=juliet@capulet\.lit ms=3 ok=true\n$/,
    )
  })

  it('quotes what is more than a word', () => {
    const { logger, screen } = open()
    logger.info('m', {
      a: 'two words',
      b: 'x=y',
      c: '',
      d: '"',
      e: { f: [1] },
      g: undefined,
      h: null,
      i: 10n,
    })
    expect(screen.text).toContain('m a="two words" b="x=y" c="" d="\\"" e={"f":[1]} h=null i=10\n')
  })

  it('has the children’s names and fields once', () => {
    const { logger, screen } = open(undefined, 'json')
    const child = logger.child('net', { host: 'a' }).child('c2s', { host: 'b', ip: '::1' })
    child.info('m', { ip: '::1', host: 'c', level: 'forged', name: 'n' })
    expect(screen.text.match(/"(host|name|level|ip)":/g)).toHaveLength(4)
    expect(JSON.parse(screen.text)).toMatchObject({
      level: 'info',
      name: 'c2s',
      host: 'b',
      field_host: 'c',
      field_level: 'forged',
      field_name: 'n',
      ip: '::1',
      msg: 'm',
    })
  })

  it('is coloured on a terminal only', () => {
    const screen = new Screen()
    screen.isTTY = true
    const before = process.env['NO_COLOR']
    delete process.env['NO_COLOR']
    try {
      createLogger(undefined, { directory: folder, stdout: screen }).logger.error('m')
    } finally {
      if (before !== undefined) process.env['NO_COLOR'] = before
    }
    expect(screen.text).toContain('\u001b[31merror\u001b[0m')
    const plain = open()
    plain.logger.error('m')
    expect(plain.screen.text).not.toContain('\u001b')
  })
})

describe('what a client sends', () => {
  const evil = 'x\r\n2026-11-22 11:24:01 error  forged\u001b[2J\u009b31m\u2028\u202e\u007f\0'
  const unsafe = /[\r\u001b\u007f-\u009f\u2028\u202e\0]/

  it.each(['text', 'json'] as const)('can not forge lines or drive a terminal (%s)', (format) => {
    const { logger, screen } = open(undefined, format)
    logger
      .child(evil, { host: evil })
      .warn(evil, { evil, nested: { [evil]: [evil] }, [evil]: 1, error: new Error(evil) })
    expect(screen.lines).toHaveLength(1)
    expect(screen.text).not.toMatch(unsafe)
  })

  it('is whole again when JSON is read', () => {
    const { logger, screen } = open(undefined, 'json')
    logger.info('m', { evil })
    expect(JSON.parse(screen.text).evil).toBe(evil)
  })

  it('can not forge lines by way of a stack', () => {
    const { logger, screen } = open()
    logger.error('m', { error: new TypeError(`x\n    at ${evil}\n2026-11-22 11:24:01 info  forged`) })
    expect(screen.lines.filter((line) => !line.startsWith('    '))).toHaveLength(1)
    expect(screen.text).not.toMatch(unsafe)
  })

  it('is cut where it is long', () => {
    const { logger, screen } = open()
    logger.info('y'.repeat(100_000), { long: 'x'.repeat(100_000) })
    expect(screen.text.length).toBeLessThan(5000)
    expect(screen.text).toContain('(98000 more)')
  })

  it('is no format string', () => {
    const { logger, screen } = open()
    logger.info('%s %d %j %%', { a: 1 })
    expect(screen.text).toContain('%s %d %j %% a=1')
  })
})

describe('errors', () => {
  it('are logged with message and causes', () => {
    const { logger, screen } = open()
    logger.warn('m', { error: new Error('no route', { cause: new Error('ENETUNREACH') }) })
    expect(screen.lines).toHaveLength(1)
    expect(screen.text).toContain('error="no route (caused by: ENETUNREACH)"')
  })

  it('have a stack when debugging', () => {
    const { logger, screen } = open('*console')
    logger.warn('m', { error: new Error('no route') })
    expect(screen.lines[1]).toMatch(/^ {4}at .*log\.test\.ts/)
  })

  it.each([
    ['a mistake in the code', { error: new TypeError('x is not a function') }],
    ['said to be internal', { error: new Error('y'), internal: true }],
  ])('have a stack if they are %s', (_what, fields) => {
    const { logger, screen } = open()
    logger.error('m', fields)
    expect(screen.lines.length).toBeGreaterThan(1)
  })

  it('that Node throws on purpose are no mistakes', () => {
    const { logger, screen } = open()
    logger.error('m', { error: Object.assign(new TypeError('bad'), { code: 'ERR_X' }) })
    expect(screen.lines).toHaveLength(1)
  })

  it('that are no Error are logged as they are', () => {
    const { logger, screen } = open()
    logger.error('m', { error: 'just text' })
    expect(screen.text).toContain('error="just text"')
  })
})

describe('the log option', () => {
  it('absent: the console from info', () => {
    const log = open()
    logAll(log)
    expect(levelsIn(log.screen.text)).toEqual(['info', 'warn', 'error'])
    expect(log.logger.debugEnabled).toBe(false)
  })

  it('a string: a file from info', () => {
    const log = open('legate.log')
    logAll(log)
    expect(levelsIn(read('legate.log'))).toEqual(['info', 'warn', 'error'])
    expect(log.screen.text).toBe('')
    expect(statSync(join(folder, 'legate.log')).mode & 0o007).toBe(0)
  })

  it('"*console": everything to the console', () => {
    const log = open('*console')
    logAll(log)
    expect(levelsIn(log.screen.text)).toEqual(['debug', 'info', 'warn', 'error'])
    expect(log.logger.debugEnabled).toBe(true)
  })

  it('levels and files', () => {
    const log = open({ info: 'legate.log', error: 'legate.err', warn: '*console' })
    logAll(log)
    expect(levelsIn(read('legate.log'))).toEqual(['info', 'warn', 'error'])
    expect(levelsIn(read('legate.err'))).toEqual(['error'])
    expect(levelsIn(log.screen.text)).toEqual(['warn', 'error'])
  })

  it.each([
    ['min', { min: 'warn' }, ['warn', 'error']],
    ['max', { max: 'info' }, ['debug', 'info']],
    ['min and max', { min: 'info', max: 'warn' }, ['info', 'warn']],
    ['a list', ['debug', 'error'], ['debug', 'error']],
    ['one', 'info', ['info']],
    ['none given', undefined, ['debug', 'info', 'warn', 'error']],
    ['min, and one more', { min: 'error', 1: 'debug' }, ['debug', 'error']],
  ])('rules with levels: %s', (_what, levels, expected) => {
    const log = open([{ levels, to: 'console' }])
    logAll(log)
    expect(levelsIn(log.screen.text)).toEqual(expected)
    const file = open([{ levels, to: 'file', filename: 'x' }])
    logAll(file)
    expect(levelsIn(read('x'))).toEqual(expected)
    expect(log.problems).toEqual([])
  })

  it('both in one table, as Debian’s prosody.cfg.lua has it: syslog is said to be missing, once', () => {
    const log = open({
      info: 'legate.log',
      error: '*syslog',
      1: { levels: ['error'], to: 'syslog' },
    })
    expect(log.problems).toHaveLength(1)
    expect(log.problems[0]).toContain('syslog is not supported')
    log.logger.error('e')
    expect(levelsIn(log.screen.text)).toEqual(['error', 'error'])
    expect(levelsIn(read('legate.log'))).toEqual(['error'])
  })

  it('without timestamps', () => {
    const { logger, screen } = open([{ to: 'console', timestamps: false }])
    logger.info('m')
    expect(screen.text).toBe('info   m\n')
  })

  it('to nowhere', () => {
    const log = open([{ to: 'nowhere' }])
    logAll(log)
    expect(log.screen.text).toBe('')
    expect(log.problems).toEqual([])
  })

  it.each([
    ['a number', 7, 'must be a file name, or a table'],
    ['a level that is none', { inof: 'x' }, 'has the level "inof"'],
    ['a level that is none, in a rule', [{ levels: { min: 'all' }, to: 'console' }], 'has the level "all"'],
    ['a file without a name', [{ to: 'file' }], 'goes to a file without a filename'],
    ['a destination that is none', [{ to: 'printer' }], 'goes to "printer"'],
    ['a file that can not be opened', 'missing/x.log', 'missing/x.log can not be opened'],
    ['a level that is no file', { info: true }, 'needs a file name or "*console" for info'],
  ])('%s is a problem that is told', (_what, option, problem) => {
    const log = open(option)
    expect(log.problems).toHaveLength(1)
    expect(log.problems[0]).toContain(problem)
  })
})

describe('files', () => {
  it('are opened anew for logrotate', async () => {
    const log = open({ info: 'legate.log', error: 'legate.log' })
    log.logger.info('before')
    renameSync(join(folder, 'legate.log'), join(folder, 'legate.log.1'))
    log.logger.info('between')
    log.reopen()
    log.logger.info('after')
    await log.close()
    expect(read('legate.log.1')).toMatch(/before[\s\S]*between/)
    expect(read('legate.log')).toContain('after')
    expect(read('legate.log')).not.toContain('between')
  })

  it('stay in use where they can not be opened anew', async () => {
    const log = open('legate.log')
    renameSync(folder, `${folder}.moved`)
    log.reopen()
    log.logger.info('after')
    await log.close()
    renameSync(`${folder}.moved`, folder)
    expect(read('legate.log')).toContain('can not be reopened')
    expect(read('legate.log')).toContain('after')
  })

  it('take nothing after close, and do not mind', async () => {
    const log = open({ info: 'legate.log', warn: '*console' })
    log.logger.warn('before')
    await log.close()
    log.logger.warn('after')
    expect(read('legate.log')).not.toContain('after')
    expect(log.screen.text).not.toContain('after')
  })
})

describe('a full disk', () => {
  it.runIf(existsSync('/dev/full'))('is told once on stderr, and does not end the server', () => {
    const stderr = vi.spyOn(process.stderr, 'write').mockReturnValue(true)
    try {
      logAll(open('/dev/full'))
      expect(stderr.mock.calls).toEqual([[expect.stringContaining('/dev/full can not be written: ENOSPC')]])
    } finally {
      stderr.mockRestore()
    }
  })
})

describe('the console', () => {
  it('is written when close resolves', async () => {
    const written: string[] = []
    const slow = new Writable({
      write(chunk: Buffer, _encoding, done) {
        setImmediate(() => {
          written.push(chunk.toString())
          done()
        })
      },
    })
    const log = createLogger(undefined, { directory: folder, stdout: slow })
    for (let i = 0; i < 50; i++) log.logger.info(`record ${i}`)
    await log.close()
    expect(written.join('')).toContain('record 49')
  })

  it('may go away', () => {
    const { logger, screen } = open()
    screen.emit('error', new Error('EPIPE'))
    screen.destroy()
    expect(() => logger.info('m')).not.toThrow()
  })
})

it('the silent logger says nothing', () => {
  logAll({ logger: silentLogger } as Log)
  expect(silentLogger.child('x').debugEnabled).toBe(false)
})

it('a record is in its file when the call returns, so that no way of ending loses it', () => {
  const log = open('legate.log')
  for (let i = 1; i <= 1000; i++) log.logger.info('record')
  expect(read('legate.log').split('\n')).toHaveLength(1001)
})
