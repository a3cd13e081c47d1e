import type { Statement } from '../../driver/statement.ts'
import { quoteBy } from '../../models/names.ts'
import { leastText, nowText, UTC } from '../clock.ts'
import { LARGEST_LEAD, taskClocks } from '../date-done.ts'
import { READY_STATES } from '../types.ts'
import { behindPrefix, commonStatements, textDates } from './common.ts'
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
  type TaskWrite,
  valueIn,
} from './types.ts'

export const dialect: BackendDialect = {
  introspect,
  statements,
  acceptsPosition: () => true,
  convertsDates: false,
  // The event loop stands still while a statement runs.
  cleanupBatch: 250,
}

const BINARY: ReadonlySet<string> = new Set(['result', 'args', 'kwargs', 'children', 'stamps'])

type Column = TaskColumn | 'date_done'

/** Asks for the columns of both tables, and for the indexes of the tasks. */
function introspect({ task, group }: TableNames): Statement {
  return {
    sql:
      "select 'task' as kind, name from pragma_table_info(?) " +
      "union all select 'group' as kind, name from pragma_table_info(?) " +
      "union all select 'index', group_concat(name, ', ') from (select l.name as of_index, i.name from " +
      'pragma_index_list(?) l, pragma_index_info(l.name) i where not l.partial order by l.name, i.seqno) group by of_index',
    params: [task, group, task],
    asArrays: false,
  }
}

/** One statement for each operation. Results are read as plain columns, which is fastest in libSQL's adapter. */
function statements(names: TableNames, facts: TableFacts, options: StatementsOptions): Statements {
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
  const { isFrozen } = options.dates
  const { clock, other } = taskClocks(options.dates)

  const syntax: Syntax = {
    task,
    group,
    placeholder: () => '?',
    bytes: (text) => text,
    integer: (value) => value,
    result: 'r.result, length(t.result)',
    // The join finds no row for a result beyond the limit.
    from: (table) =>
      `${table} t left join ${table} r on r.id = t.id and length(r.result) <= ${maxResultBytes}`,
    dateDone: 't.date_done',
    listedDate: 't.date_done',
    isId: (column) => `${column} = ?`,
    idParams: (_, id) => [id],
    isAmongIds: () => 't.task_id in (select value from json_each(?))',
    idsParams: (ids) => [JSON.stringify(ids)],
    isText: (column, text, bind) => `t.${column} = ${bind(text, 'varchar')}`,
    isAmongStates: (states, bind) => `t.status in (${states.map((state) => bind(state)).join(', ')})`,
    ...textDates(clock),
    isBehind: (than, { id, dateDone }, bind) =>
      `(t.date_done, t.id) ${than} (${bind(dateDone)}, ${bind(id)})`,
    isPrefixed(prefix, bind) {
      const behind = behindPrefix(prefix)
      return `t.task_id >= ${bind(prefix)}${behind === null ? '' : ` and t.task_id < ${bind(behind)}`}`
    },
    idOrder: (direction) => `t.task_id ${direction}`,
    isBehindId: (than, taskId, bind) => `t.task_id ${than} ${bind(taskId)}`,
    guide: () => null,
    limit: (rows, bind) => bind(rows),
  }
  const into = `insert into ${task} as t (${columns.join(', ')})`

  const texts = {
    store: `${into} values (${columns.map(() => '?').join(', ')}) ${upsert}`,
    storeGuarded: `${into} values (${columns.map(() => '?').join(', ')}) ${guardedUpsert}`,
    // `where true` keeps SQLite from reading `on conflict` as the condition of a join.
    storeMany: `${into} ${fromJson(columns)} where true ${upsert}`,
    storeManyGuarded: `${into} ${fromJson(columns)} where true ${guardedUpsert}`,
    saveGroup:
      `insert into ${group} (taskset_id, result, date_done) values (?, ?, ?) ` +
      'on conflict (taskset_id) do update set result = excluded.result, date_done = excluded.date_done',
    // Expired by the other clock, too, unless that puts it in the future.
    cleanupTask: cleanupText(task, [
      '(date_done < ? or date_done > ?)',
      ...(isFrozen ? [`status in ${READY}`] : []),
    ]),
    cleanupGroup: cleanupText(group, isFrozen ? ['id <= ?'] : []),
  }

  const statement = (sql: string, params: unknown[]): Statement => ({ sql, params, asArrays: false })
  const valueAt = (write: TaskWrite, column: Column, dateDone: string) => {
    if (column !== 'date_done') return valueIn(write, column)
    return READY_STATES.has(write.status) ? dateDone : null
  }
  const json = (write: TaskWrite, dateDone: string) =>
    columns.map((column) => {
      const value = valueAt(write, column, dateDone)
      return value instanceof Uint8Array ? hex(value) : value
    })
  return {
    ...commonStatements(syntax, facts, options),
    mostBytes: Number.POSITIVE_INFINITY,
    clock,
    async store(runner, write, guarded) {
      const dateDone = nowText(clock)
      const values = columns.map((column) => valueAt(write, column, dateDone))
      return countOf(await runner.run(statement(guarded ? texts.storeGuarded : texts.store, values))) > 0
    },
    async storeMany(runner, writes, guarded) {
      const dateDone = nowText(clock)
      const rows = JSON.stringify(writes.map((write) => json(write, dateDone)))
      return countOf(await runner.run(statement(guarded ? texts.storeManyGuarded : texts.storeMany, [rows])))
    },
    async saveGroup(runner, id, members) {
      await runner.run(statement(texts.saveGroup, [id, members, nowText(UTC)]))
    },
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
  const set = columns.slice(1).map((column) => {
    const isKept = preserveExtended && isOptional(column)
    return `${column} = ${isKept ? `coalesce(excluded.${column}, t.${column})` : `excluded.${column}`}`
  })
  const guard =
    ` where t.status is null or t.status not in ${READY} ` +
    'or (t.status = excluded.status and t.result is excluded.result)'
  return `on conflict (task_id) do update set ${set.join(', ')}${guarded ? guard : ''}`
}

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

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('hex')
}

const quoted = quoteBy('"')
