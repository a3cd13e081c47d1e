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
import type { AnyArity, GroupColumns, Present, TaskColumns, Words } from './columns.ts'
import { drawing, type MysqlSequence, mysqlSequence } from './mysql-sequence.ts'
import {
  namesBy,
  onceByNames,
  quoteBy,
  type ResultModelsOptions,
  type TableName,
  type TaskTableName,
} from './names.ts'

export { drawing, MysqlSequence, mysqlSequence } from './mysql-sequence.ts'
export type { ResultModelsOptions } from './names.ts'

// drizzle-kit loads this file bare: it imports drizzle-orm and what does the same, and awaits nothing.

type Int = ReturnType<typeof int>
declare const varcharOf: AnyArity & typeof varchar
type Varchar = Present<
  ReturnType<typeof varcharOf<string, string, Words, number | undefined>>,
  ReturnType<typeof varcharOf<string, Words>>
>
declare const textOf: AnyArity & typeof longtext
type Text = Present<
  ReturnType<typeof textOf<string, string, Words>>,
  ReturnType<typeof textOf<string, Words>>
>
type Datetime = ReturnType<typeof datetime>
type Bytes = { data: Uint8Array; driverData: Uint8Array }
interface Kinds {
  readonly id: ReturnType<ReturnType<ReturnType<Int['autoincrement']>['primaryKey']>['$defaultFn']>
  readonly taskId: ReturnType<ReturnType<typeof customType<{ data: string }>>>
  readonly word: Varchar
  readonly defaultedWord: ReturnType<Varchar['$defaultFn']>
  readonly text: Text
  readonly bytes: ReturnType<ReturnType<typeof customType<Bytes>>>
  readonly date: Datetime
  readonly defaultedDate: ReturnType<Datetime['$defaultFn']>
  readonly count: Int
}
declare const table: MySqlTableFn<string | undefined>

/** Celery's tables as Drizzle has them; on servers the sequences of their ids too. */
export type ResultModels = {
  readonly taskIdSequence: MysqlSequence
  readonly task: ReturnType<typeof table<string, TaskColumns<Kinds>>>
  readonly tasksetIdSequence: MysqlSequence
  readonly group: ReturnType<typeof table<string, GroupColumns<Kinds>>>
}

const longblob = customType<Bytes>({ dataType: () => 'longblob' })

/** Ids that differ in case are different ids, but equal by the default collations of servers. */
const id155 = customType<{ data: string }>({
  dataType: () => 'varchar(155) character set utf8mb4 collate utf8mb4_bin',
})

/**
 * Celery's two result tables, as `celery.backends.database.models` (5.2 to 5.6) makes them, but larger: `longblob` and
 * `longtext` where Celery's hold 64 KiB, and dates with microseconds. On MariaDB ids come from Celery's sequences; MySQL has
 * none, so there they are AUTO_INCREMENT. The same names give the same objects, so tables can be compared
 * and cached by identity.
 */
export const resultModels: (options?: ResultModelsOptions) => ResultModels = onceByNames(makeResultModels)

function makeResultModels(task: TaskTableName, group: TableName) {
  const taskIdSequence = mysqlSequence('task_id_sequence', task.schema)
  const tasksetIdSequence = mysqlSequence('taskset_id_sequence', group.schema)
  return {
    taskIdSequence,
    task: taskTable(task, taskIdSequence),
    tasksetIdSequence,
    group: groupTable(group.name, tasksetIdSequence),
  }
}

function taskTable({ name, indexed }: TaskTableName, sequence: MysqlSequence) {
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
    (columns) => [
      index(`ix_${name}_date_done`).on(columns.dateDone),
      ...indexed.map(({ name: each, columns: [first, ...others] }) =>
        index(`ix_${name}_${each}_id`).on(
          columns[first],
          ...others.map((other) => columns[other]),
          columns.id,
        ),
      ),
    ],
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
 * Celery's own tables have no default on `id` on MariaDB, so an insert has to fetch the value itself. To MySQL these
 * are comments, and NULL lets it count; MariaDB runs what is in them.
 */
function idFrom({ sequenceName, schema }: MysqlSequence) {
  const next = sql.raw(
    `/*M!100300 coalesce( */ null /*M!100300 , nextval(${qualified(schema, sequenceName)})) */`,
  )
  return int('id')
    .autoincrement()
    .primaryKey()
    .$defaultFn(() => next)
}

const { qualified } = namesBy(quoteBy('`'))

// The models under Celery's own names, exported one by one: what drizzle-kit reads.
const models = resultModels()
/** What ids of `task` come from on MariaDB. */
export const taskIdSequence: ResultModels['taskIdSequence'] = models.taskIdSequence
/** Celery's `celery_taskmeta`. */
export const task: ResultModels['task'] = models.task
/** What ids of `group` come from on MariaDB. */
export const tasksetIdSequence: ResultModels['tasksetIdSequence'] = models.tasksetIdSequence
/** Celery's `celery_tasksetmeta`. */
export const group: ResultModels['group'] = models.group
