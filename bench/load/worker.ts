// What the load does when it is asked: it keeps the component, the clients and the idle sessions of one server.
import { callsBetween, type RedisCalls, RedisFigures } from '../redis-figures.ts'
import { fillArchives } from './archive.ts'
import { type Client, type ClientAccount, logIn } from './client.ts'
import { runClosedLoop } from './closed-loop.ts'
import { type Component, connectComponent } from './component.ts'
import { IGNORE } from './connection.ts'
import { runLogins } from './logins.ts'
import { acquaint, inOrderOfWorkers } from './placement.ts'
import { attribute } from './reading.ts'
import type { Load, LoadRequest, LoadRequestName, LoadRequests } from './requests.ts'
import { befriend } from './roster.ts'
import { OTHER } from './skeleton.ts'
import {
  ANSWER_MARK,
  COMPONENT,
  delegatedRequest,
  HOST,
  idleResource,
  operationId,
  PASSWORD,
  RESOURCE,
  SECRET,
  spareName,
  userName,
} from './stanzas.ts'

/** Logins at the same time, so that no server's queue of new connections overflows. */
const PARALLEL_LOGINS = 20

type Take<Name extends LoadRequestName> = LoadRequests[Name]['take']

/** A load in this process. */
export class LoadWorker implements Load {
  private server: Take<'connect'> | undefined
  private component: Component | undefined
  private readonly clients: Client[] = []
  private readonly idle: Client[] = []
  /** What has broken a connection that is not looked at for the moment. */
  private broken: Error | undefined
  private onBroken: (error: Error) => void = () => {}

  async ask<Name extends LoadRequestName>(
    request: Name,
    take: Take<Name>,
  ): Promise<LoadRequests[Name]['give']> {
    if (this.broken) throw this.broken
    const breaks = new Promise<never>((_, reject) => {
      this.onBroken = reject
    })
    return Promise.race([this.handle({ request, with: take } as LoadRequest), breaks])
  }

  /** Ends all connections. */
  async stop(): Promise<void> {
    this.onBroken = () => {}
    for (const { connection } of [...this.clients, ...this.idle]) connection.close()
    this.component?.connection.close()
  }

  private handle(message: LoadRequest): Promise<LoadRequests[LoadRequestName]['give']> {
    switch (message.request) {
      case 'connect':
        return this.connect(message.with)
      case 'loop':
        return this.loop(message.with)
      case 'logins':
        return runLogins({ ...message.with, c2sPort: this.connected().c2sPort })
      case 'sessions':
        return this.sessions(message.with)
      case 'hold':
        return this.hold()
      case 'release':
        return this.release()
    }
  }

  private async connect(take: Take<'connect'>): Promise<null> {
    this.server = take
    const { setup, componentPort, spareAccounts } = take
    if (setup.clients > 0) {
      const account = { jid: COMPONENT, secret: SECRET, namespaces: setup.namespaces }
      this.component = await connectComponent(componentPort, account)
      this.component.connection.onFailure = (error) => this.break(error)
    }
    const accounts = Array.from({ length: setup.clients }, (_, index) => account(userName(index), RESOURCE))
    await this.logInAll(accounts, this.clients)
    if (take.spread !== undefined) {
      this.clients.splice(0, accounts.length, ...inOrderOfWorkers(this.clients, take.spread.workers))
      await acquaint(this.clients)
      this.watchClients()
    }
    await this.sessions({ count: setup.bystanders, accounts: spareAccounts })
    if (setup.roster !== false) await befriend(this.clients, setup.roster === true ? 'all' : 'first')
    if (setup.archived !== undefined) await fillArchives(this.clients, setup.archived)
    return null
  }

  private async loop(plan: Take<'loop'>) {
    this.component!.answerWith(plan.payloadBytes ?? 0)
    const clients = this.clients.slice(...(plan.among ?? []))
    const redis = plan.redisPort === undefined ? undefined : await RedisFigures.open(plan.redisPort)
    try {
      const readings: Promise<RedisCalls>[] = []
      const result = await runClosedLoop(clients, plan, () => {
        if (redis === undefined) return
        const reading = redis.calls()
        // It is told where it is awaited; the loop may fail before.
        reading.catch(() => {})
        readings.push(reading)
      })
      this.watchClients()
      if (redis === undefined) return result
      const [before, after] = await Promise.all(readings)
      return { ...result, redis: callsBetween(before!, after!) }
    } finally {
      redis?.close()
    }
  }

  private watchClients(): void {
    for (const { connection } of this.clients) connection.onFailure = (error) => this.break(error)
  }

  private async sessions({ count, accounts }: Take<'sessions'>): Promise<null> {
    const first = this.idle.length
    const wanted = Array.from({ length: count }, (_, index) => {
      const number = first + index
      return account(spareName(number % accounts), idleResource(number))
    })
    await this.logInAll(wanted, this.idle)
    return null
  }

  /** Logs several in at a time, and keeps them in order. */
  private async logInAll(accounts: readonly ClientAccount[], sessions: Client[]): Promise<void> {
    const { c2sPort, setup, spread } = this.connected()
    const ports = spread?.c2sPorts ?? [c2sPort]
    // Workers that share a port take turns: one that is logged in at a time gives each the same share.
    const parallel = spread === undefined || spread.workers.length === 0 ? PARALLEL_LOGINS : 1
    const first = sessions.length
    let next = 0
    const worker = async () => {
      while (next < accounts.length) {
        const index = next++
        const port = ports[Math.floor((index * ports.length) / accounts.length)]!
        const client = await logIn(port, accounts[index]!, { tls: setup.tls, mechanism: 'PLAIN' })
        client.connection.onFailure = (error) => this.break(error)
        sessions[first + index] = client
      }
    }
    await Promise.all(Array.from({ length: parallel }, worker))
  }

  private async hold(): Promise<null> {
    const held = this.component!.hold(this.idle.length)
    for (const { connection, jid } of this.idle) {
      connection.listen({
        quick: () => OTHER,
        slow(bytes, at, end) {
          const stanza = bytes.toString('latin1', at, end)
          if (isAnswer(stanza)) throw new Error(`${jid} got an answer too early: ${stanza.slice(0, 600)}`)
        },
      })
      connection.send(delegatedRequest(PENDING_ID))
    }
    await held
    return null
  }

  private async release(): Promise<null> {
    await new Promise<void>((resolve) => {
      let missing = this.idle.length
      for (const { connection } of this.idle) {
        connection.listen({
          quick: () => OTHER,
          slow(bytes, at, end) {
            const stanza = bytes.toString('latin1', at, end)
            if (!isAnswer(stanza)) return
            if (!stanza.includes(ANSWER_MARK)) throw new Error(`a wrong answer: ${stanza.slice(0, 600)}`)
            connection.listen(IGNORE)
            if (--missing === 0) resolve()
          },
        })
      }
      this.component!.release()
    })
    return null
  }

  private connected(): Take<'connect'> {
    if (this.server === undefined) throw new Error('the load is not connected')
    return this.server
  }

  private break(error: Error): void {
    this.broken ??= error
    this.onBroken(error)
  }
}

const PENDING_ID = operationId(0, 0, 0)

function isAnswer(stanza: string): boolean {
  return stanza.startsWith('<iq') && attribute(stanza, 0, stanza.indexOf('>'), 'id') === PENDING_ID
}

function account(user: string, resource: string): ClientAccount {
  return { host: HOST, user, password: PASSWORD, resource }
}
