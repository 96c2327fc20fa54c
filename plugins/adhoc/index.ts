/** Ad-hoc commands (XEP-0050): other plugins add them to the host's list `adhoc`, clients execute them. */

import {
  bareOf,
  coreOptions,
  definePlugin,
  type Element,
  errorReply,
  kinds,
  type Module,
  NS_COMMANDS,
  NS_DATA,
  type Origin,
  option,
  prepareJid,
  reply,
  type Stanza,
  type StanzaErrorCondition,
  type StanzaEvent,
  type StreamSession,
  xml,
} from '../../server/index.ts'
import type { AdhocAction, AdhocAnswer, AdhocCommand, AdhocNote, AdhocRequest } from './command.ts'
import { type Execution, Executions, executionId } from './executions.ts'

export type { AdhocAction, AdhocAnswer, AdhocCommand, AdhocNote, AdhocRequest }

const options = {
  admins: coreOptions.admins,
  adhoc_timeout: option({
    schema: kinds.period(1).default(600),
    description: 'Seconds that a user may take for a step of an ad-hoc command.',
  }),
}
type AdhocModule = Module<typeof options>

/** As in Prosody. */
const PRIORITY = 500
const ACTIONS = new Set(['execute', 'prev', 'next', 'complete', 'cancel'])
const FORBIDDEN = 'You do not have permission to execute this command'

export default definePlugin({
  name: 'adhoc',
  options,
  load(module) {
    const executions = new Executions(module, () => module.options.adhoc_timeout)
    module.addFeature(NS_COMMANDS)
    module.hook(`iq-set/host/${NS_COMMANDS}:command`, (event) => execute(module, executions, event), PRIORITY)
    module.hook('resource-unbind', ({ session }) => executions.endAll(session))
    module.hook('host-disco-info-node', (asked) => {
      if (asked.node === NS_COMMANDS) {
        asked.reply.payload?.append(
          xml('identity', { category: 'automation', type: 'command-list', name: 'Ad-Hoc Commands' }),
        )
        asked.exists = true
        return undefined
      }
      const command = commandOf(module, asked.node)
      if (command === undefined) return undefined
      if (sessionOf(module, asked, command) === undefined) {
        asked.origin.send(errorReply(asked.stanza, 'forbidden', FORBIDDEN))
        return true
      }
      asked.reply.payload?.append(
        xml('identity', { category: 'automation', type: 'command-node', name: command.name }),
        xml('feature', { var: NS_COMMANDS }),
        xml('feature', { var: NS_DATA }),
      )
      asked.exists = true
      return undefined
    })
    module.hook('host-disco-items-node', (asked) => {
      if (asked.node === NS_COMMANDS) {
        for (const { node, name } of visible(module, asked)) {
          asked.reply.payload?.append(xml('item', { jid: module.host.name, node, name }))
        }
        asked.exists = true
      } else if (visible(module, asked).some(({ node }) => node === asked.node)) {
        asked.exists = true // a command is there, and has nothing below it
      }
    })
  },
})

/** The commands of the host by node, sorted by it; of several with one node, the first. */
function commandsOf(module: AdhocModule): Map<string, AdhocCommand> {
  const commands = new Map<string, AdhocCommand>()
  for (const command of module.getHostItems<AdhocCommand>('adhoc')) {
    if (!commands.has(command.node)) commands.set(command.node, command)
  }
  return new Map([...commands].sort(([a], [b]) => (a < b ? -1 : 1)))
}

function commandOf(module: AdhocModule, node: string): AdhocCommand | undefined {
  return module.getHostItems<AdhocCommand>('adhoc').find((command) => command.node === node)
}

function visible(module: AdhocModule, asked: { origin: Origin; stanza: Stanza }): AdhocCommand[] {
  return [...commandsOf(module).values()].filter((command) => sessionOf(module, asked, command) !== undefined)
}

/**
 * The session that executes a command, if it may.
 *
 * Only a bound session speaks for its account: a `from` alone may have been written by a component.
 */
function sessionOf(
  module: AdhocModule,
  { origin, stanza }: { origin: Origin; stanza: Stanza },
  { permission }: AdhocCommand,
): StreamSession | undefined {
  const { fullJid } = origin
  if (fullJid === undefined || stanza.attrs.from !== fullJid) return undefined
  const session = module.server.fullJids.get(fullJid)
  if (session !== origin) return undefined
  if (permission === 'user') return session.host === module.host ? session : undefined
  const bare = bareOf(fullJid)
  return module.options.admins.some((admin) => prepareJid(admin)?.full === bare) ? session : undefined
}

function execute(module: AdhocModule, executions: Executions, event: StanzaEvent): true | Promise<true> {
  const { origin, stanza } = event
  const { node = '', action = 'execute', sessionid } = stanza.payloadAttrs
  const command = commandOf(module, node)
  if (command === undefined) {
    origin.send(errorReply(stanza, 'item-not-found', 'There is no such command'))
    return true
  }
  const session = sessionOf(module, event, command)
  if (session === undefined) {
    origin.send(errorReply(stanza, 'forbidden', FORBIDDEN))
    return true
  }
  if (!ACTIONS.has(action)) return refuse(event, 'bad-request', 'malformed-action')
  if (sessionid === undefined) {
    if (action !== 'execute') return refuse(event, 'bad-request', 'bad-action')
    return work(event, executions, command, { session, action, state: undefined }, undefined)
  }
  const execution = executions.find(session, sessionid)
  if (execution === undefined || execution.command !== command) {
    return refuse(event, 'bad-request', 'bad-sessionid')
  }
  if (action === 'cancel') {
    executions.end(execution)
    origin.send(reply(stanza, commandElement(command, sessionid, 'canceled')))
    return true
  }
  const chosen = action === 'execute' ? defaultOf(execution.actions) : (action as AdhocAction)
  if (!execution.actions.includes(chosen)) return refuse(event, 'bad-request', 'bad-action')
  return work(event, executions, command, { session, action: chosen, state: execution.state }, execution)
}

/** Has the handler do one step, and sends its answer. */
function work(
  event: StanzaEvent,
  executions: Executions,
  command: AdhocCommand,
  step: Pick<AdhocRequest, 'session' | 'action' | 'state'>,
  execution: Execution | undefined,
): true | Promise<true> {
  const form = event.stanza.payload?.getChild('x', NS_DATA)
  const account = bareOf(step.session.fullJid!)
  const done = (answer: AdhocAnswer): true => {
    event.origin.send(
      reply(event.stanza, answerElement(executions, command, step.session, answer, execution)),
    )
    return true
  }
  const failed = (error: unknown): never => {
    if (execution !== undefined) executions.end(execution)
    throw error
  }
  try {
    const answer = command.handle({ ...step, account, form })
    return answer instanceof Promise ? answer.then(done, failed) : done(answer)
  } catch (error) {
    return failed(error)
  }
}

function answerElement(
  executions: Executions,
  command: AdhocCommand,
  session: StreamSession,
  answer: AdhocAnswer,
  execution: Execution | undefined,
): Element {
  if (answer.status === 'completed') {
    if (execution !== undefined) executions.end(execution)
    return commandElement(command, execution?.id ?? executionId(), 'completed', answer.notes, answer.form)
  }
  const { actions, state, notes, form } = answer
  if (execution !== undefined) executions.proceed(execution, actions, state)
  const id = execution?.id ?? executions.begin(command, session, actions, state)
  const offered = xml('actions', { execute: defaultOf(actions) }, ...actions.map((action) => xml(action)))
  return commandElement(command, id, 'executing', notes, form, offered)
}

/** What `execute` means after the first step (XEP-0050 §3.4). */
function defaultOf(actions: readonly AdhocAction[]): AdhocAction {
  if (actions.includes('next')) return 'next'
  return actions.includes('complete') ? 'complete' : 'prev'
}

function commandElement(
  { node }: AdhocCommand,
  sessionid: string,
  status: 'executing' | 'completed' | 'canceled',
  notes: readonly AdhocNote[] = [],
  ...content: (Element | undefined)[]
): Element {
  const element = xml('command', { xmlns: NS_COMMANDS, node, sessionid, status })
  // The actions come first, as in the examples of XEP-0050.
  for (const part of content.reverse()) if (part !== undefined) element.append(part)
  for (const { type, text } of notes) element.append(xml('note', { type }, text))
  return element
}

/** An error with the condition that XEP-0050 §3.6 adds to it. */
function refuse({ origin, stanza }: StanzaEvent, condition: StanzaErrorCondition, detail: string): true {
  const answer = errorReply(stanza, condition)
  answer.getChild('error')?.append(xml(detail, { xmlns: NS_COMMANDS }))
  origin.send(answer)
  return true
}
