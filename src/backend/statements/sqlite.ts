import type { Statement } from '../../driver/statement.ts'
import { leastText, nowText, UTC, type WallClock } from '../clock.ts'
import { LARGEST_LEAD, taskClocks } from '../date-done.ts'
import { READY_STATES } from '../types.ts'
import {
  countOf,
  isDoneOnly,
  type ListRequest,
  type OptionalColumn,
  READY,
  type Statements,
  type StatementsOptions,
  type TableFacts,
  type TableNames,
  type TaskWrite,
} from './types.ts'

const BINARY: ReadonlySet<string> = new Set(['result', 'args', 'kwargs', 'children', 'stamps'])

type Column = 'task_id' | 'status' | 'result' | 'date_done' | 'traceback' | OptionalColumn

/** Asks for the columns of both tables. */
export function introspectSqlite({ task, group }: TableNames): Statement {
  return {
    sql:
      "select 'task' as kind, name from pragma_table_info(?) " +
      "union all select 'group' as kind, name from pragma_table_info(?)",
    params: [task, group],
    asArrays: false,
  }
}

/** One statement for each operation. What reads results is a list of plain columns, which libSQL's adapter reads fastest. */
export function sqliteStatements(
  names: TableNames,
  facts: TableFacts,
  options: StatementsOptions,
): Statements {
  const task = quoted(names.task)
  const group = quoted(names.group)
  const columns: readonly Column[] = [
    'task_id',
    'status',
    'result',
    'date_done',
    'traceback',
    ...options.written,
  ]
  const { maxResultBytes, preserveExtended } = options
  const [upsert, guardedUpsert] = [false, true].map((guarded) =>
    upsertText(columns, { preserveExtended, guarded }),
  )
  const listed = LISTED.filter((column) => facts.task.has(column))
  const lists = new Map<string, string>()
  const { isFrozen } = options.dates
  const { clock, other } = taskClocks(options.dates)

  // A result beyond the limit finds no partner.
  const bounded = (table: string) =>
    `${table} t left join ${table} r on r.id = t.id and length(r.result) <= ${maxResultBytes}`
  const optional = options.read.map((column) => `, t.${column}`).join('')
  const select =
    `select t.task_id, t.status, r.result, length(t.result), t.date_done, t.traceback${optional} ` +
    `from ${bounded(task)}`
  const among = (column: string) => `${column} in (select value from json_each(?))`
  const into = `insert into ${task} as t (${columns.join(', ')})`

  const texts = {
    store: `${into} values (${columns.map(() => '?').join(', ')}) ${upsert}`,
    storeGuarded: `${into} values (${columns.map(() => '?').join(', ')}) ${guardedUpsert}`,
    // `where true` keeps SQLite from reading `on conflict` as the condition of a join.
    storeMany: `${into} ${fromJson(columns)} where true ${upsert}`,
    storeManyGuarded: `${into} ${fromJson(columns)} where true ${guardedUpsert}`,
    get: `${select} where t.task_id = ?`,
    getMany: `${select} where ${among('t.task_id')}`,
    state: `select t.status from ${task} t where t.task_id = ?`,
    finished: `select t.task_id, t.status from ${task} t where ${among('t.task_id')} and t.status in ${READY}`,
    forget: `delete from ${task} where task_id = ?`,
    saveGroup:
      `insert into ${group} (taskset_id, result, date_done) values (?, ?, ?) ` +
      'on conflict (taskset_id) do update set result = excluded.result, date_done = excluded.date_done',
    group: `select r.result, length(t.result) from ${bounded(group)} where t.taskset_id = ?`,
    deleteGroup: `delete from ${group} where taskset_id = ?`,
    counts: `select status, count(*) as tasks from ${task} group by status`,
    newestGroup: `select coalesce(max(id), 0) as id from ${group}`,
    // By the other clock, too, unless that would be a time to come.
    cleanupTask: cleanupText(task, [
      '(date_done < ? or date_done > ?)',
      ...(isFrozen ? [`status in ${READY}`] : []),
    ]),
    cleanupGroup: cleanupText(group, isFrozen ? ['id <= ?'] : []),
  }

  const statement = (sql: string, params: unknown[]): Statement => ({ sql, params, asArrays: false })
  const valueIn = (write: TaskWrite, column: Column, dateDone: string) => {
    if (column === 'task_id') return write.taskId
    if (column === 'date_done') return READY_STATES.has(write.status) ? dateDone : null
    return write[column]
  }
  const json = (write: TaskWrite, dateDone: string) =>
    columns.map((column) => {
      const value = valueIn(write, column, dateDone)
      return value instanceof Uint8Array ? hex(value) : value
    })
  return {
    mostBytes: Number.POSITIVE_INFINITY,
    clock,
    async store(runner, write, guarded) {
      const dateDone = nowText(clock)
      const values = columns.map((column) => valueIn(write, column, dateDone))
      return countOf(await runner.run(statement(guarded ? texts.storeGuarded : texts.store, values))) > 0
    },
    async storeMany(runner, writes, guarded) {
      const dateDone = nowText(clock)
      const rows = JSON.stringify(writes.map((write) => json(write, dateDone)))
      return countOf(await runner.run(statement(guarded ? texts.storeManyGuarded : texts.storeMany, [rows])))
    },
    get: (id) => statement(texts.get, [id]),
    getMany: (ids) => statement(texts.getMany, [JSON.stringify(ids)]),
    state: (id) => statement(texts.state, [id]),
    finished: (ids) => statement(texts.finished, [JSON.stringify(ids)]),
    forget: (id) => statement(texts.forget, [id]),
    async saveGroup(runner, id, members) {
      await runner.run(statement(texts.saveGroup, [id, members, nowText(UTC)]))
    },
    group: (id) => statement(texts.group, [id]),
    deleteGroup: (id) => statement(texts.deleteGroup, [id]),
    list: (request) => listStatement(task, request, { listed, texts: lists, clock }),
    counts: () => statement(texts.counts, []),
    newestGroup: () => statement(texts.newestGroup, []),
    cleanup(table, { seconds, newestGroup }, rows) {
      const now = Date.now()
      const cutoff = now - seconds * 1000
      if (table === 'group') {
        const newest = isFrozen ? [newestGroup] : []
        return statement(texts.cleanupGroup, [leastText(UTC, cutoff), ...newest, rows])
      }
      const byOther = [leastText(other, cutoff), leastText(other, now + LARGEST_LEAD)]
      return statement(texts.cleanupTask, [leastText(clock, cutoff), ...byOther, rows])
    },
  }
}

interface UpsertOptions {
  readonly preserveExtended: boolean
  readonly guarded: boolean
}

function upsertText(columns: readonly Column[], { preserveExtended, guarded }: UpsertOptions): string {
  const set = columns.slice(1).map((column, at) => {
    const isKept = preserveExtended && at >= OBLIGATORY
    return `${column} = ${isKept ? `coalesce(excluded.${column}, t.${column})` : `excluded.${column}`}`
  })
  const guard =
    ` where t.status is null or t.status not in ${READY} ` +
    'or (t.status = excluded.status and t.result is excluded.result)'
  return `on conflict (task_id) do update set ${set.join(', ')}${guarded ? guard : ''}`
}

/** How many columns, after `task_id`, every table has. */
const OBLIGATORY = 4

/** Rows out of one JSON array of arrays; bytes are in hex there. */
function fromJson(columns: readonly Column[]): string {
  const items = columns.map((column, at) => {
    const item = `value ->> ${at}`
    return BINARY.has(column) ? `unhex(${item})` : item
  })
  return `select ${items.join(', ')} from json_each(?)`
}

function cleanupText(table: string, conditions: readonly string[]): string {
  const expired = ['date_done < ?', ...conditions].join(' and ')
  return `delete from ${table} where id in (select id from ${table} where ${expired} order by date_done limit ?)`
}

interface List {
  readonly listed: readonly string[]
  /** One for each set of conditions, so that each finds its index; they are kept, since there are few. */
  readonly texts: Map<string, string>
  readonly clock: WallClock
}

function listStatement(table: string, request: ListRequest, { listed, texts, clock }: List): Statement {
  const { orderBy, descending, limit, after, states, name, worker, since, until } = request
  const params: unknown[] = []
  const conditions = isDoneOnly(request) ? ['t.date_done is not null', `t.status in ${READY}`] : []
  const where = (condition: string, ...values: unknown[]) => {
    if (values[0] === null) return
    conditions.push(condition)
    params.push(...values)
  }
  const orNone = states?.includes('PENDING') ? ' or t.status is null' : ''
  const amongStates = `(t.status in (select value from json_each(?))${orNone})`
  where(amongStates, states === null ? null : JSON.stringify(states))
  where('t.name = ?', name)
  where('t.worker = ?', worker)
  where('t.date_done >= ?', since === null ? null : leastText(clock, since))
  where('t.date_done < ?', until === null ? null : leastText(clock, until))
  const than = descending ? '<' : '>'
  if (orderBy === 'id') where(`t.id ${than} ?`, after?.id ?? null)
  else where(`(t.date_done, t.id) ${than} (?, ?)`, after?.dateDone ?? null, after?.id)
  params.push(limit)

  const direction = descending ? 'desc' : 'asc'
  const key = `${orderBy} ${direction} ${conditions.join()}`
  let sql = texts.get(key)
  if (sql === undefined) {
    const columns = ['id', 'task_id', 'status', 'date_done', ...listed].map((column) => `t.${column}`)
    const order = orderBy === 'id' ? `t.id ${direction}` : `t.date_done ${direction}, t.id ${direction}`
    sql =
      `select ${columns.join(', ')} from ${table} t` +
      `${conditions.length > 0 ? ` where ${conditions.join(' and ')}` : ''} order by ${order} limit ?`
    texts.set(key, sql)
  }
  return { sql, params, asArrays: false }
}

const LISTED = ['name', 'worker', 'retries', 'queue'] as const

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('hex')
}

function quoted(identifier: string): string {
  return `"${identifier.replaceAll('"', '""')}"`
}
