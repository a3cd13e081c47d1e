import type { Statement } from '../../driver/statement.ts'
import { namesBy, quoteBy, quotedText } from '../../models/names.ts'
import { UTC } from '../clock.ts'
import { LARGEST_LEAD } from '../date-done.ts'
import { behindPrefix, commonStatements, isTimestamp, positionsWith, sizedResult } from './common.ts'
import {
  type DateForm,
  guideOf,
  isWithin,
  SESSION_FORM,
  sinceOf,
  UTC_FORM,
  untilOf,
} from './postgresql-list.ts'
import type { Syntax } from './syntax.ts'
import {
  type BackendDialect,
  countOf,
  isOptional,
  READY,
  type Statements,
  type StatementsOptions,
  type TableFacts,
  type TableNames,
  type TaskColumn,
  valueIn,
} from './types.ts'

export const dialect: BackendDialect = {
  introspect,
  statements,
  acceptsPosition: positionsWith(isTimestamp),
  convertsDates: true,
  cleanupBatch: 1_000,
}

/** The server's clock; `now()` would be the time before waiting for a lock. */
const NOW = 'clock_timestamp()'

/** The type of each column, for parameters whose type PostgreSQL cannot infer. */
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
} as const satisfies Record<TaskColumn, string>

/** Asks for the columns of both tables, for the sequences, and for the indexes that are of columns only. */
function introspect(names: TableNames): Statement {
  const { task, group } = tablesOf(names)
  const columnsOf = (table: string, at: number) =>
    `select '${table}' as kind, a.attname::text as name from pg_catalog.pg_attribute a ` +
    `where a.attrelid = pg_catalog.to_regclass($${at}::text) and a.attnum > 0 and not a.attisdropped`
  return {
    sql:
      `${columnsOf('task', 1)} union all ${columnsOf('group', 2)} ` +
      `union all select 'task sequence', '' where pg_catalog.to_regclass($3::text) is not null ` +
      `union all select 'group sequence', '' where pg_catalog.to_regclass($4::text) is not null ` +
      "union all select 'index', substring(pg_catalog.pg_get_indexdef(i.indexrelid) from ' USING btree \\(([a-z_, ]+)\\)$') " +
      'from pg_catalog.pg_index i where i.indrelid = pg_catalog.to_regclass($1::text) and i.indisvalid',
    params: [task, group, ...sequencesOf(names)],
    asArrays: false,
  }
}

/**
 * One statement for each operation. An upsert first tries to update: `insert … on conflict` by itself would draw a value
 * from the sequence each time, and ids are 32 bits wide.
 */
function statements(names: TableNames, facts: TableFacts, options: StatementsOptions): Statements {
  const { task, group } = tablesOf(names)
  const [taskSequence, groupSequence] = sequencesOf(names)
  const taskId = facts.hasTaskSequence ? nextOf(taskSequence) : null
  const groupId = facts.hasGroupSequence ? nextOf(groupSequence) : null

  const columns: readonly TaskColumn[] = ['task_id', 'status', 'result', 'traceback', ...options.written]
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
  const syntax: Syntax = {
    task,
    group,
    placeholder: (at, type) => `$${at}::${type}`,
    bytes: (text) => text,
    integer: (value) => `${value}::integer`,
    result: sizedResult(options.maxResultBytes),
    from: (table) => `${table} t`,
    dateDone: `${inUtc(form)} as date_done`,
    listedDate: `${inUtc(form)} as date_done, t.date_done as stored_date`,
    isId: (column) => `${column} = $1`,
    idParams: (_, id) => [id],
    isAmongIds: () => 't.task_id = any($1::varchar[])',
    idsParams: (ids) => [ids],
    isText: (column, text, bind) => `t.${column} = ${bind(text, 'varchar')}`,
    // Of an array no index gives an order, not even of a single state.
    isAmongStates: (states, bind) =>
      states.length === 1
        ? `t.status = ${bind(states[0], 'varchar')}`
        : `t.status = any(${bind(states, 'varchar[]')})`,
    isSince: (instant, bind) => isWithin(sinceOf(form, instant, bind)),
    isBefore: (instant, bind) => isWithin(untilOf(form, instant, bind)),
    isBehind: (than, { id, dateDone }, bind) =>
      `(t.date_done, t.id) ${than} (${bind(dateDone, 'timestamp')}, ${bind(id, 'integer')})`,
    // By bytes, which is the order of an index with text_pattern_ops, whatever the collation of the database.
    isPrefixed(prefix, bind) {
      const behind = behindPrefix(prefix)
      const upTo = behind === null ? '' : ` and t.task_id ~<~ ${bind(behind, 'varchar')}`
      return `t.task_id ~>=~ ${bind(prefix, 'varchar')}${upTo}`
    },
    idOrder: (direction) => `t.task_id using ${direction === 'asc' ? '~<~' : '~>~'}`,
    isBehindId: (than, taskId, bind) => `t.task_id ~${than}~ ${bind(taskId, 'varchar')}`,
    guide: (request, bind) => guideOf(request, facts.indexes, form, bind),
    limit: (rows, bind) => bind(rows, 'integer'),
  }
  const texts = {
    store: storeText(store, false),
    storeGuarded: storeText(store, true),
    storeMany: storeManyText(store, false),
    storeManyGuarded: storeManyText(store, true),
    saveGroup: saveGroupText(group, groupId, groupForm.shown(NOW)),
    cleanupTask: cleanupText(task, form, (row) => (isFrozen ? ` and ${row}.status in ${READY}` : '')),
    cleanupGroup: cleanupText(group, groupForm, (row) => (isFrozen ? ` and ${row}.id <= $3::integer` : '')),
  }

  const statement = (sql: string, params: unknown[]): Statement => ({ sql, params, asArrays: false })
  return {
    ...commonStatements(syntax, facts, options),
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
    async saveGroup(runner, id, members) {
      await runner.run(statement(texts.saveGroup, [id, members]))
    },
    cleanup(table, { seconds, newestGroup }, rows) {
      if (table === 'task') return statement(texts.cleanupTask, [seconds, rows])
      return statement(texts.cleanupGroup, [seconds, rows, ...(isFrozen ? [newestGroup] : [])])
    },
  }
}

interface Store {
  readonly table: string
  readonly columns: readonly TaskColumn[]
  /** Where a new id comes from; `null` where only the table knows. */
  readonly id: string | null
  readonly preserves: boolean
  /** What `date_done` shows of now. */
  readonly now: string
}

/** When a task was done, in UTC. */
function inUtc({ moment }: DateForm): string {
  return UTC_FORM.shown(moment('t.date_done'))
}

function storeText(store: Store, guarded: boolean): string {
  const { table, columns } = store
  const given = (column: TaskColumn) => `$${columns.indexOf(column) + 1}::${TYPES[column]}`
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
  const given = (column: TaskColumn) => `g.${column}`
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

function assignments({ columns, preserves, now }: Store, given: (column: TaskColumn) => string): string {
  const each = columns.slice(1).map((column) => {
    const isKept = preserves && isOptional(column)
    return `${column} = ${isKept ? `coalesce(${given(column)}, t.${column})` : given(column)}`
  })
  return [...each, `date_done = case when ${given('status')} in ${READY} then ${now} end`].join(', ')
}

function insertedColumns({ columns, id }: Store): string {
  return [...(id === null ? [] : ['id']), ...columns, 'date_done'].join(', ')
}

function insertedValues({ columns, id, now }: Store, given: (column: TaskColumn) => string): string {
  const dateDone = `case when ${given('status')} in ${READY} then ${now} end`
  return [...(id === null ? [] : [id]), ...columns.map(given), dateDone].join(', ')
}

/** Another transaction inserted the row between our update and our insert. */
function onConflict(store: Store, guarded: boolean): string {
  const excluded = (column: TaskColumn) => `excluded.${column}`
  const guard = guarded ? ` where ${guardOf(excluded)}` : ''
  return `on conflict (task_id) do update set ${assignments(store, excluded)}${guard}`
}

/** The row may be overwritten: it is not finished, or has the same state and result. */
function guardOf(given: (column: TaskColumn) => string): string {
  return (
    `(t.status is null or t.status not in ${READY} ` +
    `or (t.status = ${given('status')} and t.result is not distinct from ${given('result')}))`
  )
}

/** Without it a protected row would draw an id for nothing. */
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
 * A row is deleted only when it has expired by the form of other versions of Celery, too, unless that puts it in the future.
 * The outer statement repeats the conditions: PostgreSQL checks them again for a row that was updated meanwhile.
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

function tablesOf(names: TableNames): { task: string; group: string } {
  return { task: qualified(names.taskSchema, names.task), group: qualified(names.groupSchema, names.group) }
}

/** They are in the schemas of their tables, and have fixed names, as in Celery. */
function sequencesOf({ taskSchema, groupSchema }: TableNames): [task: string, group: string] {
  return [qualified(taskSchema, 'task_id_sequence'), qualified(groupSchema, 'taskset_id_sequence')]
}

function nextOf(sequence: string): string {
  return `nextval(${quotedText(sequence)})`
}

const { qualified } = namesBy(quoteBy('"'))
