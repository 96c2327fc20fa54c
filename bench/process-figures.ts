// What Linux says of a process, from /proc: its CPU time, its memory, and whom it is connected with.
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'

/** Clock ticks a second in /proc/PID/stat: USER_HZ, 100 on every Linux that Node runs on. */
const TICKS_PER_SECOND = 100

/** Seconds of CPU (user and system, all threads) that the process has used, in steps of 10 ms. */
export function cpuSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
  // The second field, the command's name, may hold spaces and parentheses: count from its end.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND
}

/** Seconds of CPU that the machine has given to whatever runs on it, and that were taken from it by its host. */
export function machineCpuSeconds(): number {
  const [line = ''] = readFileSync('/proc/stat', 'latin1').split('\n', 1)
  // user, nice, system, idle, iowait, irq, softirq, steal; what comes behind is part of user and nice.
  const fields = line.split(/\s+/).slice(1, 9).map(Number)
  return fields.reduce((sum, ticks, at) => (at === 3 || at === 4 ? sum : sum + ticks), 0) / TICKS_PER_SECOND
}

/** Resident memory of the process, in kB of 1024 bytes. */
export function residentKilobytes(pid: number): number {
  const match = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))
  if (!match) throw new Error(`process ${pid} has no resident memory: it has ended`)
  return Number(match[1])
}

const SOCKET = /^socket:\[(\d+)\]$/

/** The ports at the other ends of the TCP connections (IPv4) that the process has. */
export function remotePortsOf(pid: number): Set<number> {
  const sockets = new Set<string>()
  for (const descriptor of readdirSync(`/proc/${pid}/fd`)) {
    try {
      const inode = SOCKET.exec(readlinkSync(`/proc/${pid}/fd/${descriptor}`))?.[1]
      if (inode !== undefined) sockets.add(inode)
    } catch {
      // It has been closed meanwhile.
    }
  }
  const ports = new Set<number>()
  for (const line of readFileSync('/proc/net/tcp', 'latin1').split('\n').slice(1)) {
    // Number, own address, other address (in hex, with the port behind a colon), …, the tenth is the inode.
    const fields = line.trim().split(/\s+/)
    const [, , remote] = fields
    if (remote === undefined || !sockets.has(fields[9] ?? '')) continue
    const port = Number.parseInt(remote.slice(remote.indexOf(':') + 1), 16)
    if (port > 0) ports.add(port)
  }
  return ports
}
