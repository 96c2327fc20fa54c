// What Linux says of a process: its CPU time and its memory, from /proc.
import { readFileSync } from 'node:fs'

/** Clock ticks a second in /proc/PID/stat: USER_HZ, 100 on every Linux that Node runs on. */
const TICKS_PER_SECOND = 100

/** Seconds of CPU (user and system, all threads) that the process has used, in steps of 10 ms. */
export function cpuSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
  // The second field, the command's name, may hold spaces and parentheses: count from its end.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND
}

/** Resident memory of the process, in kB of 1024 bytes. */
export function residentKilobytes(pid: number): number {
  const match = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))
  if (!match) throw new Error(`process ${pid} has no resident memory: it has ended`)
  return Number(match[1])
}
