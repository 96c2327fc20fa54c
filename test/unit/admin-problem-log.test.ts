// What an operator is told of the warnings and errors that were logged.

import { expect, it } from 'vitest'
import { LoggedProblems } from '../../server/admin/problem-log.ts'
import { type Logger, silentLogger } from '../../server/log.ts'

it('counts warnings and errors, and names the host and the error that belong to them', () => {
  const problems = new LoggedProblems()
  const host = problems.through(silentLogger).child('host', { host: 'capulet.lit' })
  host.info('nothing')
  host.debug('nothing')
  host.child('c2s1').warn('somebody is slow')
  host.error('it is broken', { error: new Error('out of order') })
  host.error('capulet.lit is broken', { host: 'capulet.lit' })
  expect(problems).toMatchObject({ warnings: 1, errors: 2 })
  expect(problems.last.map(({ level, text }) => [level, text])).toEqual([
    ['warn', 'capulet.lit: somebody is slow'],
    ['error', 'capulet.lit: it is broken: out of order'],
    ['error', 'capulet.lit is broken'],
  ])
})

it('keeps the last ones, cut, and one that comes again only once', () => {
  const problems = new LoggedProblems()
  const log = problems.through(silentLogger)
  log.warn('the first')
  for (let count = 0; count < 1000; count++) log.warn('again')
  log.error('x'.repeat(100_000))
  expect(problems.last.map(({ text }) => text)).toEqual(['the first', 'again', 'x'.repeat(300)])
  for (let count = 0; count < 1000; count++) log.warn(`number ${count}`)
  expect(problems.last).toHaveLength(10)
  expect(problems.last.at(-1)).toMatchObject({ text: 'number 999' })
  expect(problems).toMatchObject({ warnings: 2001, errors: 1 })
})

it('collects what is logged meanwhile', () => {
  const problems = new LoggedProblems()
  const log = problems.through(silentLogger)
  log.error('before')
  const collected = problems.collect()
  log.error('meanwhile')
  expect(collected().map(({ text }) => text)).toEqual(['meanwhile'])
  log.error('after')
  expect(collected()).toHaveLength(1)
})

it('passes everything on', () => {
  const passed: string[] = []
  const take = (message: string): void => {
    passed.push(message)
  }
  const inner: Logger = {
    debug: take,
    info: take,
    warn: take,
    error: take,
    child: () => inner,
    debugEnabled: true,
  }
  const log = new LoggedProblems().through(inner).child('c2s')
  for (const level of ['debug', 'info', 'warn', 'error'] as const) log[level](level)
  expect(passed).toEqual(['debug', 'info', 'warn', 'error'])
  expect(log.debugEnabled).toBe(true)
})
