// @ts-check
// The process that prosody.cfg.lua runs in. Lua runs in a thread of it, so that this thread stays free to tell
// the server what is going on, and the server ends the whole process with a signal.
//
// A thread alone would do but for V8: ending a busy thread can bring down its process (in Node 20 an assertion
// of NodePlatform::ForIsolate, when code is being compiled in the background), and a server that reloads its
// configuration has people connected.

import { Worker } from 'node:worker_threads'

/** What the thread may take, besides what the values of Lua take. */
const THREAD_MEMORY_MB = 192

const place = new Int32Array(new SharedArrayBuffer(8))

/** @param {object} message */
function tell(message) {
  process.send?.(message)
}

/** @param {string} message */
function fail(message) {
  tell({ type: 'failed', message, file: place[0], line: place[1] })
}

/** @param {import('./lua-worker.js').LuaJob} job */
function run(job) {
  const worker = new Worker(new URL('./lua-worker.js', import.meta.url), {
    workerData: { ...job, place: place.buffer },
    resourceLimits: { maxOldGenerationSizeMb: THREAD_MEMORY_MB },
  })
  worker.on('message', (message) => {
    tell(message)
    if (message.type === 'running') {
      setTimeout(
        () =>
          fail(
            `it still ran after ${job.timeoutMs / 1000} seconds and was stopped (is this a loop without end?)`,
          ),
        job.timeoutMs,
      )
    }
  })
  worker.on('error', (error) => {
    const tooMuch = 'code' in error && error.code === 'ERR_WORKER_OUT_OF_MEMORY'
    fail(tooMuch ? 'it takes too much memory' : `it could not be run: ${error.message}`)
  })
  worker.on('exit', () => fail('it could not be run: its thread ended'))
}

process.once('message', run)
// SIGINT on a terminal reaches all of its processes; whether the configuration goes on is the server's to say.
process.on('SIGINT', () => {})
process.on('disconnect', () => process.kill(process.pid, 'SIGKILL'))
