import { sql } from 'drizzle-orm'
import {
  customType,
  datetime,
  index,
  int,
  longtext,
  type MySqlTableFn,
  mysqlSchema,
  mysqlTable,
  varchar,
} from 'drizzle-orm/mysql-core'
import { onceByNames } from './by-names.ts'
import { drawing, type MysqlSequence, mysqlSequence } from './mysql-sequence.ts'

export { drawing, MysqlSequence, mysqlSequence } from './mysql-sequence.ts'

// drizzle-kit loads this file bare: it imports drizzle-orm and what does the same, and awaits nothing.

export interface ResultModelsOptions {
  /**
   * Celery's `database_table_names`.
   *
   * @default { task: 'celery_taskmeta', group: 'celery_tasksetmeta' }
   */
  readonly tableNames?: { readonly task?: string; readonly group?: string }
  /**
   * Celery's `database_table_schemas`: databases on MySQL and MariaDB. The sequence of a table lies where the table lies.
   *
   * @default the database of the connection
   */
  readonly schemas?: { readonly task?: string; readonly group?: string }
}

export type ResultModels = ReturnType<typeof makeResultModels>

const longblob = customType<{ data: Uint8Array; driverData: Uint8Array }>({ dataType: () => 'longblob' })

/** Ids that differ in case are different ids: the collations that servers have by default would take them for one. */
const id155 = customType<{ data: string }>({
  dataType: () => 'varchar(155) character set utf8mb4 collate utf8mb4_bin',
})

const modelsNamed = onceByNames(makeResultModels)

/**
 * Celery's two result tables, as `celery.backends.database.models` (5.2 to 5.6) makes them, with more room: `longblob` and
 * `longtext` where Celery's hold 64 KiB, and dates with microseconds. On MariaDB ids come from Celery's sequences, on
 * MySQL, which has none, the tables count by themselves. The same names give the same objects, so tables can be compared
 * and cached by identity.
 */
export function resultModels(options: ResultModelsOptions = {}): ResultModels {
  return modelsNamed(options)
}

function makeResultModels({ tableNames, schemas }: ResultModelsOptions) {
  const taskIdSequence = mysqlSequence('task_id_sequence', schemas?.task)
  const tasksetIdSequence = mysqlSequence('taskset_id_sequence', schemas?.group)
  return {
    taskIdSequence,
    task: taskTable(tableNames?.task ?? 'celery_taskmeta', taskIdSequence),
    tasksetIdSequence,
    group: groupTable(tableNames?.group ?? 'celery_tasksetmeta', tasksetIdSequence),
  }
}

function taskTable(name: string, sequence: MysqlSequence) {
  const table = tableIn(sequence.schema)(
    name,
    {
      id: idFrom(sequence),
      taskId: id155('task_id').unique('task_id'),
      status: varchar('status', { length: 50 }).$defaultFn(() => 'PENDING'),
      result: longblob('result'),
      dateDone: datetime('date_done', { fsp: 6 }),
      traceback: longtext('traceback'),
      name: varchar('name', { length: 155 }),
      args: longblob('args'),
      kwargs: longblob('kwargs'),
      worker: varchar('worker', { length: 155 }),
      retries: int('retries'),
      queue: varchar('queue', { length: 155 }),
    },
    (columns) => [index(`ix_${name}_date_done`).on(columns.dateDone)],
  )
  drawing(table.id, sequence)
  return table
}

function groupTable(name: string, sequence: MysqlSequence) {
  const table = tableIn(sequence.schema)(
    name,
    {
      id: idFrom(sequence),
      tasksetId: id155('taskset_id').unique('taskset_id'),
      result: longblob('result'),
      dateDone: datetime('date_done', { fsp: 6 }).$defaultFn(() => new Date()),
    },
    (columns) => [index(`ix_${name}_date_done`).on(columns.dateDone)],
  )
  drawing(table.id, sequence)
  return table
}

function tableIn(schema: string | undefined): MySqlTableFn<string | undefined> {
  return schema === undefined ? mysqlTable : mysqlSchema(schema).table
}

/**
 * Celery's own tables have no default on `id` on MariaDB, so an insert has to fetch the value itself. MySQL takes what
 * stands in such a comment for one, and counts on from NULL; MariaDB runs it.
 */
function idFrom({ sequenceName, schema }: MysqlSequence) {
  const name = schema === undefined ? quoted(sequenceName) : `${quoted(schema)}.${quoted(sequenceName)}`
  const next = sql.raw(`/*M!100300 coalesce( */ null /*M!100300 , nextval(${name})) */`)
  return int('id')
    .autoincrement()
    .primaryKey()
    .$defaultFn(() => next)
}

function quoted(identifier: string): string {
  return `\`${identifier.replaceAll('`', '``')}\``
}

/** The models under Celery's own names, exported one by one: what drizzle-kit reads. */
export const { taskIdSequence, task, tasksetIdSequence, group } = resultModels()
