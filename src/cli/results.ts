import type { DatabaseBackend } from '../backend/database-backend.ts'
import { type FlatMember, flattened } from '../backend/groups.ts'
import type { ListedTask, ListOptions } from '../backend/list.ts'
import { toPlainJson } from '../backend/plain-json.ts'
import { AsyncResult } from '../backend/results.ts'
import { type PlainTaskMeta, PROPAGATE_STATES, READY_STATES, type TaskMeta } from '../backend/types.ts'
import { visible, visibleLines } from '../backend/visible.ts'
import { type Call, type Command, EXIT, type OptionHelp, TABLE_OPTIONS, UsageError } from './command.ts'
import { withBackend } from './connect.ts'
import type { Column, Style } from './output.ts'

export const FILTERS: Readonly<Record<string, OptionHelp>> = {
  state: { type: 'string', multiple: true, value: 'STATE', help: 'only this state; may be given again' },
  name: { type: 'string', value: 'NAME', help: 'only tasks of this name' },
  worker: { type: 'string', value: 'NODE', help: 'only tasks of this worker' },
  queue: { type: 'string', value: 'QUEUE', help: 'only tasks of this queue' },
}

/** `tasks`: a list of tasks, the newest first. */
export const tasks: Command = {
  summary: 'list tasks, the newest first',
  operands: '',
  count: [0, 0],
  options: {
    ...FILTERS,
    since: { type: 'string', value: 'TIME', help: 'only tasks done since: 12h, 7d, 2026-11-29' },
    until: { type: 'string', value: 'TIME', help: 'only tasks done before' },
    limit: { type: 'string', value: 'N', help: 'how many, up to 100000 (50)' },
    ...TABLE_OPTIONS,
  },
  run: (call) =>
    withBackend(call, async (backend) => {
      const { flags, output } = call
      const limit = flags.count('limit', 50, 100_000)
      const options = { ...filtersOf(call), since: flags.moment('since'), until: flags.moment('until') }
      const found: ListedTask[] = []
      for await (const task of listed(backend, options, limit)) {
        if (output.isJson) output.json(task)
        else found.push(task)
        call.signal.throwIfAborted()
      }
      if (!output.isJson && found.length === 0) output.line('No such tasks.')
      else if (!output.isJson) output.table(COLUMNS, found)
      return EXIT.done
    }),
}

export function filtersOf({ flags }: Pick<Call, 'flags'>): ListOptions {
  const states = flags.texts('state').map((state) => state.toUpperCase())
  return {
    ...(states.length > 0 && { state: states }),
    ...{ name: flags.text('name'), worker: flags.text('worker'), queue: flags.text('queue') },
  }
}

/** Page by page. */
async function* listed(
  backend: DatabaseBackend,
  options: ListOptions,
  limit: number,
): AsyncGenerator<ListedTask, void, undefined> {
  let left = limit
  for (let cursor: string | null | undefined; cursor !== null && left > 0; ) {
    const page = await backend.list({ ...options, limit: Math.min(left, 1_000), cursor: cursor ?? null })
    yield* page.items
    left -= page.items.length
    cursor = page.cursor
  }
}

export const COLUMNS: readonly Column<ListedTask>[] = [
  { title: 'STATE', of: ({ status }) => status, style: ({ status }) => styleOf(status) },
  { title: 'DONE (UTC)', of: ({ dateDone }) => timeOf(dateDone), style: () => 'dim' },
  { title: 'NAME', of: ({ name }) => name ?? '', isCut: true },
  { title: 'WORKER', of: ({ worker }) => worker ?? '', isCut: true, isSpare: true },
  { title: 'QUEUE', of: ({ queue }) => queue ?? '', isCut: true, isSpare: true },
  { title: 'TASK', of: ({ taskId }) => taskId },
]

export function styleOf(state: string): Style | null {
  return STYLES.get(state) ?? (READY_STATES.has(state) ? null : 'cyan')
}

const STYLES: ReadonlyMap<string, Style> = new Map([
  ['SUCCESS', 'green'],
  ['FAILURE', 'red'],
  ['REVOKED', 'magenta'],
  ['RETRY', 'yellow'],
])

function timeOf(date: Date | null): string {
  return date === null || Number.isNaN(date.getTime())
    ? ''
    : date.toISOString().slice(0, 19).replace('T', ' ')
}

/** `task`: all that is stored of one, as Celery's `result` shows it. */
export const task: Command = {
  summary: 'show a task, or wait for it; exit 1 if it failed, was revoked, or is not stored',
  operands: 'ID',
  count: [1, 1],
  options: {
    wait: { type: 'boolean', help: 'until it is done, with its progress' },
    timeout: { type: 'string', value: 'TIME', help: 'wait no longer: 45s, 30m' },
    traceback: { type: 'boolean', help: 'only its traceback' },
    ...TABLE_OPTIONS,
  },
  run: (call) =>
    withBackend(call, async (backend) => {
      const { flags, signal, output } = call
      const [id = ''] = call.operands
      const timeout = flags.seconds('timeout')
      if (timeout !== undefined && !flags.has('wait')) throw new UsageError('--timeout goes with --wait')
      let meta = await backend.getTaskMeta(id)
      if (flags.has('wait') && !READY_STATES.has(meta.status)) {
        for await (const next of new AsyncResult(id, backend).watch({ timeout, signal })) {
          meta = next
          if (!READY_STATES.has(meta.status)) showProgress(call, meta)
        }
      }
      if (flags.has('traceback')) output.line(visibleLines(meta.traceback ?? ''))
      else showTask(call, meta.toJSON())
      const isThere = meta.status !== 'PENDING' || (await backend.taskResultExists(id))
      if (!isThere && !output.isJson)
        output.line('Nothing is stored of it: it was never sent, waits for a worker, or was deleted.')
      return isThere && !PROPAGATE_STATES.has(meta.status) ? EXIT.done : EXIT.no
    }),
}

function showProgress({ output }: Call, { status, result }: TaskMeta): void {
  if (output.isJson) output.json({ status, result: toPlainJson(result) })
  else output.line(`${output.styled(styleOf(status) ?? 'cyan', visible(status))} ${visible(oneLine(result))}`)
}

function oneLine(value: unknown): string {
  return value === null ? '' : JSON.stringify(toPlainJson(value))
}

function showTask({ output }: Call, meta: PlainTaskMeta): void {
  if (output.isJson) {
    output.json(meta)
    return
  }
  const { taskId, status, result, traceback, unreadable, ...others } = meta
  const text = (value: unknown) => (value == null ? null : pretty(value))
  output.fields([
    ['task', visible(taskId)],
    ['state', output.styled(styleOf(status) ?? 'cyan', visible(status))],
    ['done', others.dateDone],
    ['name', text(others.name)],
    ['args', text(others.args)],
    ['kwargs', text(others.kwargs)],
    ['worker', text(others.worker)],
    ['queue', text(others.queue)],
    ['retries', text(others.retries)],
    ['children', text(others.children)],
    ['stamps', text(others.stamps)],
    ['result', text(result)],
    ['unreadable', unreadable === undefined ? null : visible(Object.values(unreadable).join('; '))],
    ['traceback', traceback === null ? null : visibleLines(traceback).trimEnd()],
  ])
}

/** JSON; what would be long over several lines, and in them what is short on one again. */
function pretty(value: unknown): string {
  return typeof value === 'string' ? visibleLines(value) : visibleLines(prettyJson(value, ''))
}

function prettyJson(value: unknown, indent: string): string {
  const line = JSON.stringify(value)
  if (line.length <= 60 || typeof value !== 'object' || value === null) return line
  const deeper = `${indent}  `
  const isList = Array.isArray(value)
  const parts = Object.entries(value).map(([key, item]) => {
    const name = isList ? '' : `${JSON.stringify(key)}: `
    return `${deeper}${name}${prettyJson(item, deeper)}`
  })
  const [open, close] = isList ? '[]' : '{}'
  return `${open}\n${parts.join(',\n')}\n${indent}${close}`
}

/** `counts`: how many tasks are in each state. */
export const counts: Command = {
  summary: 'count the tasks of each state',
  operands: '',
  count: [0, 0],
  options: TABLE_OPTIONS,
  run: (call) =>
    withBackend(call, async (backend) => {
      const { output } = call
      const found = Object.entries(await backend.counts()).sort(([, one], [, other]) => other - one)
      if (output.isJson) output.json(Object.fromEntries(found))
      else output.table(COUNT_COLUMNS, found)
      return EXIT.done
    }),
}

const COUNT_COLUMNS: readonly Column<readonly [string, number]>[] = [
  { title: 'STATE', of: ([state]) => state, style: ([state]) => styleOf(state) },
  { title: 'TASKS', of: ([, tasks]) => tasks.toLocaleString('en-US'), isRight: true },
]

/** `group`: the members of a saved group, with their states. */
export const group: Command = {
  summary: 'show the members of a saved group; exit 1 if there is none',
  operands: 'ID',
  count: [1, 1],
  options: TABLE_OPTIONS,
  run: (call) =>
    withBackend(call, async (backend) => {
      const { output } = call
      const [id = ''] = call.operands
      const saved = await backend.restoreGroup(id)
      if (saved === null) {
        if (!output.isJson) output.line('No group of that id is saved.')
        return EXIT.no
      }
      const members = flattened(saved.members)
      const metas = await backend.getMany(members.flatMap(({ isGroup, id }) => (isGroup ? [] : id)))
      const rows = members.map((member) => ({ ...member, state: metas.get(member.id)?.status ?? '' }))
      if (!output.isJson) output.table(MEMBER_COLUMNS, rows)
      for (const { id: taskId, state, depth, isGroup } of output.isJson ? rows : [])
        output.json({ taskId, ...(isGroup ? { isGroup } : { status: state }), depth })
      return EXIT.done
    }),
}

const MEMBER_COLUMNS: readonly Column<FlatMember & { readonly state: string }>[] = [
  {
    title: 'STATE',
    of: ({ state, isGroup }) => (isGroup ? '(group)' : state),
    style: ({ state }) => styleOf(state),
  },
  { title: 'TASK', of: ({ id, depth }) => `${'  '.repeat(depth)}${id}` },
]
