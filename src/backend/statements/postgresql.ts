import type { Statement } from '../../driver/statement.ts'
import { textOf, UTC } from '../clock.ts'
import { LARGEST_LEAD } from '../date-done.ts'
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

/** The server's clock; `now()` would be the time before waiting for a lock. */
const NOW = 'clock_timestamp()'

/**
 * A moment as `date_done` shows it, and back. The zone of a session is that of Python's as long as both log in alike, and
 * PostgreSQL converts an aware datetime of Python's by it as it does here. Of a time that is shown twice, it takes the
 * later moment.
 */
interface DateForm {
  shown(moment: string): string
  moment(shown: string): string
}

const UTC_FORM: DateForm = {
  shown: (moment) => `(${moment} at time zone 'utc')`,
  moment: (shown) => `(${shown} at time zone 'utc')`,
}

const SESSION_FORM: DateForm = {
  shown: (moment) => `${moment}::timestamp`,
  moment: (shown) => `${shown}::timestamptz`,
}

/** The type of each column, for parameters that PostgreSQL sees in places where it could not tell. */
const TYPES = {
  task_id: 'varchar',
  status: 'varchar',
  result: 'bytea',
  traceback: 'text',
  name: 'varchar',
  args: 'bytea',
  kwargs: 'bytea',
  worker: 'varchar',
  retries: 'integer',
  queue: 'varchar',
  children: 'bytea',
  stamps: 'bytea',
} as const

type Column = keyof typeof TYPES

/** Asks for the columns of both tables and for the sequences. */
export function introspectPostgresql(names: TableNames): Statement {
  const { task, group } = tablesOf(names)
  const columnsOf = (table: string, at: number) =>
    `select '${table}' as kind, a.attname::text as name from pg_catalog.pg_attribute a ` +
    `where a.attrelid = pg_catalog.to_regclass($${at}::text) and a.attnum > 0 and not a.attisdropped`
  return {
    sql:
      `${columnsOf('task', 1)} union all ${columnsOf('group', 2)} ` +
      `union all select 'task sequence', '' where pg_catalog.to_regclass($3::text) is not null ` +
      `union all select 'group sequence', '' where pg_catalog.to_regclass($4::text) is not null`,
    params: [task, group, ...sequencesOf(names)],
    asArrays: false,
  }
}

/**
 * One statement for each operation. An upsert first tries to update: `insert … on conflict` by itself would draw a value
 * from the sequence each time, and ids are 32 bits wide.
 */
export function postgresqlStatements(
  names: TableNames,
  facts: TableFacts,
  options: StatementsOptions,
): Statements {
  const { task, group } = tablesOf(names)
  const [taskSequence, groupSequence] = sequencesOf(names)
  const taskId = facts.hasTaskSequence ? nextOf(taskSequence) : null
  const groupId = facts.hasGroupSequence ? nextOf(groupSequence) : null

  const columns: readonly Column[] = ['task_id', 'status', 'result', 'traceback', ...options.written]
  const { areTasksLocal, areGroupsLocal, isFrozen } = options.dates
  const form = areTasksLocal ? SESSION_FORM : UTC_FORM
  const groupForm = areGroupsLocal ? SESSION_FORM : UTC_FORM
  const store: Store = {
    table: task,
    columns,
    id: taskId,
    preserves: options.preserveExtended,
    now: form.shown(NOW),
  }
  const listed = LISTED.filter((column) => facts.task.has(column))

  const limit = options.maxResultBytes
  const bounded = `case when octet_length(t.result) <= ${limit} then t.result end as result, octet_length(t.result) as size`
  const optional = options.read.map((column) => `, t.${column}`).join('')
  const dateDone = `${inUtc(form)} as date_done`
  const select = `select t.task_id, t.status, ${bounded}, ${dateDone}, t.traceback${optional} from ${task} t`
  const lists = new Map<string, string>()

  const texts = {
    store: storeText(store, false),
    storeGuarded: storeText(store, true),
    storeMany: storeManyText(store, false),
    storeManyGuarded: storeManyText(store, true),
    get: `${select} where t.task_id = $1`,
    getMany: `${select} where t.task_id = any($1::varchar[])`,
    state: `select t.status from ${task} t where t.task_id = $1`,
    finished: `select t.task_id, t.status from ${task} t where t.task_id = any($1::varchar[]) and t.status in ${READY}`,
    forget: `delete from ${task} where task_id = $1`,
    saveGroup: saveGroupText(group, groupId, groupForm.shown(NOW)),
    group: `select ${bounded} from ${group} t where t.taskset_id = $1`,
    deleteGroup: `delete from ${group} where taskset_id = $1`,
    counts: `select status, count(*)::integer as tasks from ${task} group by status`,
    newestGroup: `select coalesce(max(id), 0)::integer as id from ${group}`,
    cleanupTask: cleanupText(task, form, (row) => (isFrozen ? ` and ${row}.status in ${READY}` : '')),
    cleanupGroup: cleanupText(group, groupForm, (row) => (isFrozen ? ` and ${row}.id <= $3::integer` : '')),
  }

  const statement = (sql: string, params: unknown[]): Statement => ({ sql, params, asArrays: false })
  return {
    mostBytes: Number.POSITIVE_INFINITY,
    clock: UTC,
    async store(runner, write, guarded) {
      const values = columns.map((column) => valueIn(write, column))
      return countOf(await runner.run(statement(guarded ? texts.storeGuarded : texts.store, values))) > 0
    },
    async storeMany(runner, writes, guarded) {
      const text = guarded ? texts.storeManyGuarded : texts.storeMany
      const values = columns.map((column) => writes.map((write) => valueIn(write, column)))
      return countOf(await runner.run(statement(text, values)))
    },
    get: (id) => statement(texts.get, [id]),
    getMany: (ids) => statement(texts.getMany, [ids]),
    state: (id) => statement(texts.state, [id]),
    finished: (ids) => statement(texts.finished, [ids]),
    forget: (id) => statement(texts.forget, [id]),
    async saveGroup(runner, id, members) {
      await runner.run(statement(texts.saveGroup, [id, members]))
    },
    group: (id) => statement(texts.group, [id]),
    deleteGroup: (id) => statement(texts.deleteGroup, [id]),
    list: (request) => listStatement(task, request, { listed, texts: lists, form }),
    counts: () => statement(texts.counts, []),
    newestGroup: () => statement(texts.newestGroup, []),
    cleanup(table, { seconds, newestGroup }, rows) {
      if (table === 'task') return statement(texts.cleanupTask, [seconds, rows])
      return statement(texts.cleanupGroup, [seconds, rows, ...(isFrozen ? [newestGroup] : [])])
    },
  }
}

interface Store {
  readonly table: string
  readonly columns: readonly Column[]
  /** Where a new id comes from; `null` where only the table knows. */
  readonly id: string | null
  readonly preserves: boolean
  /** What `date_done` shows of now. */
  readonly now: string
}

/** When a task was done, without a zone. */
function inUtc({ moment }: DateForm): string {
  return UTC_FORM.shown(moment('t.date_done'))
}

function storeText(store: Store, guarded: boolean): string {
  const { table, columns } = store
  const given = (column: Column) => `$${columns.indexOf(column) + 1}::${TYPES[column]}`
  const guard = guarded ? ` and ${guardOf(given)}` : ''
  const absent = guarded ? ` and ${noneReady(table, given('task_id'))}` : ''
  return (
    `with updated as (update ${table} t set ${assignments(store, given)} ` +
    `where t.task_id = ${given('task_id')}${guard} returning 1), ` +
    `inserted as (insert into ${table} as t (${insertedColumns(store)}) ` +
    `select ${insertedValues(store, given)} where not exists (select 1 from updated)${absent} ` +
    `${onConflict(store, guarded)} returning 1) ` +
    'select ((select count(*) from updated) + (select count(*) from inserted))::integer as written'
  )
}

function storeManyText(store: Store, guarded: boolean): string {
  const { table, columns } = store
  const given = (column: Column) => `g.${column}`
  const guard = guarded ? ` and ${guardOf(given)}` : ''
  const absent = guarded ? ` and ${noneReady(table, 'g.task_id')}` : ''
  const arrays = columns.map((column, at) => `$${at + 1}::${TYPES[column]}[]`)
  return (
    `with given as materialized (select * from unnest(${arrays.join(', ')}) as g (${columns.join(', ')})), ` +
    `updated as (update ${table} t set ${assignments(store, given)} from given g ` +
    `where t.task_id = g.task_id${guard} returning t.task_id), ` +
    `inserted as (insert into ${table} as t (${insertedColumns(store)}) ` +
    `select ${insertedValues(store, given)} from given g ` +
    `where not exists (select 1 from updated u where u.task_id = g.task_id)${absent} ` +
    `${onConflict(store, guarded)} returning 1) ` +
    'select ((select count(*) from updated) + (select count(*) from inserted))::integer as written'
  )
}

function assignments({ columns, preserves, now }: Store, given: (column: Column) => string): string {
  const each = columns.slice(1).map((column) => {
    const isKept = preserves && isOptional(column)
    return `${column} = ${isKept ? `coalesce(${given(column)}, t.${column})` : given(column)}`
  })
  return [...each, `date_done = case when ${given('status')} in ${READY} then ${now} end`].join(', ')
}

function insertedColumns({ columns, id }: Store): string {
  return [...(id === null ? [] : ['id']), ...columns, 'date_done'].join(', ')
}

function insertedValues({ columns, id, now }: Store, given: (column: Column) => string): string {
  const dateDone = `case when ${given('status')} in ${READY} then ${now} end`
  return [...(id === null ? [] : [id]), ...columns.map(given), dateDone].join(', ')
}

/** Somebody else inserted the row between our update and our insert. */
function onConflict(store: Store, guarded: boolean): string {
  const excluded = (column: Column) => `excluded.${column}`
  const guard = guarded ? ` where ${guardOf(excluded)}` : ''
  return `on conflict (task_id) do update set ${assignments(store, excluded)}${guard}`
}

/** The row may be overwritten: it is not finished, or with the very same. */
function guardOf(given: (column: Column) => string): string {
  return (
    `(t.status is null or t.status not in ${READY} ` +
    `or (t.status = ${given('status')} and t.result is not distinct from ${given('result')}))`
  )
}

/** Keeps a protected row from drawing an id in vain. */
function noneReady(table: string, taskId: string): string {
  return `not exists (select 1 from ${table} r where r.task_id = ${taskId} and r.status in ${READY})`
}

function saveGroupText(table: string, id: string | null, now: string): string {
  const columns = id === null ? '' : 'id, '
  const next = id === null ? '' : `${id}, `
  return (
    `with updated as (update ${table} set result = $2::bytea, date_done = ${now} ` +
    'where taskset_id = $1::varchar returning 1) ' +
    `insert into ${table} (${columns}taskset_id, result, date_done) ` +
    `select ${next}$1::varchar, $2::bytea, ${now} where not exists (select 1 from updated) ` +
    'on conflict (taskset_id) do update set result = excluded.result, date_done = excluded.date_done'
  )
}

/**
 * A row is deleted only when it has expired by the other form, too, in which other versions of Celery store, unless that would be
 * a time to come. The conditions stand outside as well, where they are checked again for a row that somebody renews meanwhile.
 */
function cleanupText(table: string, form: DateForm, andMay: (row: string) => string): string {
  const other = form === UTC_FORM ? SESSION_FORM : UTC_FORM
  const [cutoff, latest] = ['(select cutoff from times)', '(select latest from times)']
  const isExpired = (row: string) => {
    const [moment, otherMoment] = [form.moment(`${row}.date_done`), other.moment(`${row}.date_done`)]
    return `${moment} < ${cutoff} and (${otherMoment} < ${cutoff} or ${otherMoment} > ${latest})${andMay(row)}`
  }
  return (
    `with times as materialized (select now - make_interval(secs => $1::float8) as cutoff, ` +
    `now + interval '${LARGEST_LEAD} milliseconds' as latest from (select ${NOW} as now) as clock), ` +
    // The first condition is what its index is used for.
    `expired as materialized (select e.id from ${table} e where e.date_done < ${form.shown(cutoff)} ` +
    `and ${isExpired('e')} order by e.date_done limit $2::integer), ` +
    `deleted as (delete from ${table} t where t.id = any(array(select id from expired)) ` +
    `and ${isExpired('t')} returning 1) ` +
    'select (select count(*) from deleted)::integer as written, (select count(*) from expired)::integer as found'
  )
}

interface List {
  readonly listed: readonly string[]
  /** One for each set of conditions, so that each finds its index; they are kept, since there are few. */
  readonly texts: Map<string, string>
  readonly form: DateForm
}

function listStatement(table: string, request: ListRequest, { listed, texts, form }: List): Statement {
  const { orderBy, descending, limit, after, states, name, worker, since, until } = request
  const params: unknown[] = [limit]
  const conditions = isDoneOnly(request) ? ['t.date_done is not null', `t.status in ${READY}`] : []
  const where = (condition: (place: string) => string, value: unknown) => {
    if (value === null) return
    conditions.push(condition(`$${params.push(value)}`))
  }
  const orNone = states?.includes('PENDING') ? ' or t.status is null' : ''
  where((place) => `(t.status = any(${place}::varchar[])${orNone})`, states)
  where((place) => `t.name = ${place}::varchar`, name)
  where((place) => `t.worker = ${place}::varchar`, worker)
  where((place) => sinceText(form, place), since === null ? null : textOf(since))
  where((place) => untilText(form, place), until === null ? null : textOf(until))
  const than = descending ? '<' : '>'
  if (after !== null && orderBy === 'id') where((place) => `t.id ${than} ${place}::integer`, after.id)
  if (after !== null && orderBy === 'dateDone') {
    const dateDone = `$${params.push(after.dateDone)}::timestamp`
    where((place) => `(t.date_done, t.id) ${than} (${dateDone}, ${place}::integer)`, after.id)
  }

  const direction = descending ? 'desc' : 'asc'
  const key = `${orderBy} ${direction} ${conditions.join()}`
  let sql = texts.get(key)
  if (sql === undefined) {
    const order = orderBy === 'id' ? `t.id ${direction}` : `t.date_done ${direction}, t.id ${direction}`
    sql =
      `select t.id, t.task_id, t.status, ${inUtc(form)} as date_done, t.date_done as stored_date` +
      `${listed.map((column) => `, t.${column}`).join('')} from ${table} t` +
      `${conditions.length > 0 ? ` where ${conditions.join(' and ')}` : ''} order by ${order} limit $1::integer`
    texts.set(key, sql)
  }
  return { sql, params, asArrays: false }
}

/**
 * The index knows only what is stored. In an hour that is shown twice that may be less than what is shown at `since`, and be
 * read as later: so it is asked for a wider range, and each row is looked at.
 */
function sinceText({ shown, moment }: DateForm, place: string): string {
  const since = UTC_FORM.moment(`${place}::timestamp`)
  const least = `${shown(since)} - (${moment(shown(since))} - ${since})`
  return `t.date_done >= ${least} and ${moment('t.date_done')} >= ${since}`
}

function untilText({ shown, moment }: DateForm, place: string): string {
  const until = UTC_FORM.moment(`${place}::timestamp`)
  return `t.date_done < ${shown(until)} and ${moment('t.date_done')} < ${until}`
}

const LISTED = ['name', 'worker', 'retries', 'queue'] as const

function isOptional(column: Column): column is OptionalColumn {
  return !['task_id', 'status', 'result', 'traceback'].includes(column)
}

function valueIn(write: TaskWrite, column: Column): unknown {
  return column === 'task_id' ? write.taskId : write[column]
}

function tablesOf(names: TableNames): { task: string; group: string } {
  return { task: qualified(names.taskSchema, names.task), group: qualified(names.groupSchema, names.group) }
}

/** They lie where their tables lie, and are never called after them: as in Celery. */
function sequencesOf({ taskSchema, groupSchema }: TableNames): [task: string, group: string] {
  return [qualified(taskSchema, 'task_id_sequence'), qualified(groupSchema, 'taskset_id_sequence')]
}

function nextOf(sequence: string): string {
  return `nextval('${sequence.replaceAll("'", "''")}')`
}

export function qualified(schema: string | undefined, name: string): string {
  return schema === undefined ? quoted(name) : `${quoted(schema)}.${quoted(name)}`
}

function quoted(identifier: string): string {
  return `"${identifier.replaceAll('"', '""')}"`
}
