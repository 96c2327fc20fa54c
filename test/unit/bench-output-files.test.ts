// The bench's results on disk: what is written can be read back, and what cannot be read is named.
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type BenchDocument, readDocument, writeResults } from '../../bench/output/index.ts'
import { row, sampleDocument } from './bench-output-sample.ts'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'legate-bench-output-'))
})
afterAll(() => rm(folder, { recursive: true }))

describe('writing', () => {
  it('writes JSON, Markdown and pictures, into a folder that it makes, and reads them back', async () => {
    const document = sampleDocument()
    const file = join(folder, 'made', 'for it', 'run.json')
    const paths = await writeResults(document, file)
    expect(paths.map((path) => basename(path))).toEqual([
      ...['run.json', 'run.md', 'run-cost.svg', 'run-load.svg', 'run-growth.svg'],
    ])
    expect(await readDocument(file)).toEqual(document)
    expect(await readdir(dirname(file))).toHaveLength(paths.length)
    const markdown = await readFile(paths[1]!, 'utf8')
    expect(markdown).toContain('## Traffic: µs of server CPU per operation\n\n| ')
    expect(markdown).toMatch(/^## Goals: \d+ of \d+ met$/m)
    for (const path of paths.slice(2)) expect(markdown).toContain(`](${basename(path)})`)
  })

  it('draws only what was measured', async () => {
    const memory = sampleDocument({ samples: [row('memory', 'idle', 'idle session', [8, 13, 26, 96], 'kB')] })
    const paths = await writeResults(memory, join(folder, 'memory.json'))
    expect(paths.map((path) => basename(path))).toEqual(['memory.json', 'memory.md'])
    expect(await readFile(paths[1]!, 'utf8')).not.toContain('![')
  })

  it('keeps what it does not know of the machine', async () => {
    const document = sampleDocument({ samples: [] })
    Object.assign(document.environment, { kernel: '6.1' })
    const [file] = await writeResults(document, join(folder, 'kernel.json'))
    expect((await readDocument(file!)).environment).toHaveProperty('kernel', '6.1')
  })
})

describe('reading', () => {
  /** What reading a file with this content fails with, without the file's name. */
  async function failure(content: unknown): Promise<string> {
    const file = join(folder, 'wrong.json')
    await writeFile(file, typeof content === 'string' ? content : JSON.stringify(content))
    const error = await readDocument(file).then(
      () => new Error('it was read'),
      (reason: Error) => reason,
    )
    expect(error.message).toContain(file)
    return error.message.replace(file, 'FILE')
  }

  /** A right document of one scenario, and then something wrong in it. */
  function wrong(change: (document: BenchDocument) => void): BenchDocument {
    const samples = [row('traffic', 'message', 'message', [2, 7, 100, 50])]
    const document = structuredClone(sampleDocument({ samples }))
    change(document)
    return document
  }

  it('names a file that is not there, and says what to give', async () => {
    const file = join(folder, 'none.json')
    await expect(readDocument(file)).rejects.toThrow(`${file}: there is no such file; give the JSON`)
    await expect(readDocument(folder)).rejects.toThrow(folder)
  })

  it('says when it is no JSON, or not of this version', async () => {
    expect(await failure('| a | table |')).toMatch(/^FILE is not JSON: .*; give the \.json file of a run/)
    const readsOne = 'and this bench reads version 1 of its results: measure anew'
    expect(await failure({ cells: [] })).toBe(`FILE has no version, ${readsOne}`)
    expect(await failure({ version: 2 })).toBe(`FILE has version 2, ${readsOne}`)
    for (const nothing of ['null', '[]', '3', '"text"'])
      expect(await failure(nothing)).toContain('no version')
  })

  it('names the place of what is wrong', async () => {
    const cellValue = wrong(({ cells }) => Object.assign(cells[1]!.rounds[0]!, { value: 'much' }))
    expect(await failure(cellValue)).toMatch(/^FILE: cells\[1\]\.rounds\[0\]\.value: .*number/)
    const detail = wrong(({ cells }) => Object.assign(cells[0]!.rounds[0]!.details, { 'p50 ms': null }))
    expect(await failure(detail)).toMatch(/^FILE: cells\[0\]\.rounds\[0\]\.details\["p50 ms"\]: /)
    const section = wrong(({ scenarios }) => Object.assign(scenarios[0]!, { section: 'other' }))
    expect(await failure(section)).toMatch(/^FILE: scenarios\[0\]\.section: /)
    const environment = wrong((document) => Object.assign(document, { environment: undefined }))
    expect(await failure(environment)).toMatch(/^FILE: environment: /)
  })

  it('refuses what contradicts itself', async () => {
    const peer = wrong(({ cells }) => Object.assign(cells[0]!, { peer: 'stranger' }))
    expect(await failure(peer)).toBe('FILE: cells[0].peer: "stranger" is none of the peers')
    const scenario = wrong(({ cells }) => Object.assign(cells[0]!, { scenario: 'other' }))
    expect(await failure(scenario)).toBe('FILE: cells[0].scenario: "other" is none of the scenarios')
    const twice = wrong(({ cells }) => cells.push(cells[0]!))
    expect(await failure(twice)).toBe('FILE: cells: "floor, message" is there twice')
    const peers = wrong(({ peers }) => peers.push(peers[0]!))
    expect(await failure(peers)).toBe('FILE: peers: "floor" is there twice')
  })
})
