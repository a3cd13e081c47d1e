import { customType, index, integer, sqliteTable, text } from 'drizzle-orm/sqlite-core'
import type { AnyArity, GroupColumns, Present, TaskColumns, Words } from './columns.ts'
import {
  type ResultModelsOptions as Options,
  onceByNames,
  type TableName,
  type TaskTableName,
} from './names.ts'

// drizzle-kit loads this file bare: it imports drizzle-orm and what imports nothing else, and awaits nothing.

/** The names of the tables. */
export type ResultModelsOptions = Pick<Options, 'tableNames' | 'indexes'>

type Int = ReturnType<typeof integer>
declare const textOf: AnyArity & typeof text
type Text = Present<
  ReturnType<typeof textOf<string, string, Words, number | undefined, 'text'>>,
  ReturnType<typeof textOf<string, Words>>
>
type Varchar = ReturnType<ReturnType<typeof customType<{ data: string }>>>
type Bytes = { data: Uint8Array; driverData: Uint8Array | ArrayBuffer }
type Datetime = ReturnType<ReturnType<typeof customType<{ data: Date; driverData: string }>>>
interface Kinds {
  readonly id: ReturnType<Int['primaryKey']>
  readonly taskId: Varchar
  readonly word: Varchar
  readonly defaultedWord: ReturnType<Varchar['$defaultFn']>
  readonly text: Text
  readonly bytes: ReturnType<ReturnType<typeof customType<Bytes>>>
  readonly date: Datetime
  readonly defaultedDate: ReturnType<Datetime['$defaultFn']>
  readonly count: Int
}

/** Celery's tables as Drizzle has them. */
export type ResultModels = {
  readonly task: ReturnType<typeof sqliteTable<string, TaskColumns<Kinds>>>
  readonly group: ReturnType<typeof sqliteTable<string, GroupColumns<Kinds>>>
}

/** libSQL returns an ArrayBuffer where Drizzle does not map values itself (raw `all`, a batch). */
const blob = customType<Bytes>({
  dataType: () => 'BLOB',
  fromDriver: (value) => (value instanceof Uint8Array ? value : new Uint8Array(value)),
})

/**
 * SQLAlchemy's `DateTime` on SQLite: `YYYY-MM-DD HH:MM:SS.ffffff`, always six digits, taken for UTC. Celery compares it as
 * text when it cleans up, and SQLAlchemy 1.4 reads `.678` as 678 microseconds, so no other form is ever written.
 * Reading is lenient: text that is no date becomes an invalid Date, so that the rest of the row can be read.
 */
const datetime = customType<{ data: Date; driverData: string }>({
  dataType: () => 'DATETIME',
  toDriver: (date) => date.toISOString().replace('T', ' ').replace('Z', '000'),
  fromDriver: (value) => new Date(inUtc(String(value))),
})

const varchar155 = customType<{ data: string }>({ dataType: () => 'VARCHAR(155)' })
const varchar50 = customType<{ data: string }>({ dataType: () => 'VARCHAR(50)' })

/**
 * Celery's two result tables, as `celery.backends.database.models` (5.2 to 5.6) makes them. The same names give the
 * same objects, so tables can be compared and cached by identity.
 *
 * A Date keeps milliseconds. Where Celery's microseconds matter, select the text:
 * `db.select({ dateDone: sql<string>`${task.dateDone}` })`.
 */
export const resultModels: (options?: ResultModelsOptions) => ResultModels = onceByNames(makeResultModels)

function makeResultModels(task: TaskTableName, group: TableName) {
  return { task: taskTable(task), group: groupTable(group.name) }
}

function taskTable({ name, indexed }: TaskTableName) {
  return sqliteTable(
    name,
    {
      id: integer('id').primaryKey({ autoIncrement: true }),
      taskId: varchar155('task_id').unique(`${name}_task_id_key`),
      status: varchar50('status').$defaultFn(() => 'PENDING'),
      result: blob('result'),
      dateDone: datetime('date_done'),
      traceback: text('traceback'),
      name: varchar155('name'),
      args: blob('args'),
      kwargs: blob('kwargs'),
      worker: varchar155('worker'),
      retries: integer('retries'),
      queue: varchar155('queue'),
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
}

function groupTable(name: string) {
  return sqliteTable(
    name,
    {
      id: integer('id').primaryKey({ autoIncrement: true }),
      tasksetId: varchar155('taskset_id').unique(`${name}_taskset_id_key`),
      result: blob('result'),
      dateDone: datetime('date_done').$defaultFn(() => new Date()),
    },
    (columns) => [index(`ix_${name}_date_done`).on(columns.dateDone)],
  )
}

/** Text without a zone is UTC; a fraction is cut to milliseconds. */
function inUtc(text: string): string {
  const match = /^(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d(?::\d\d(?:\.\d{1,3})?)?)\d*(Z|[+-]\d\d:\d\d)?$/.exec(text)
  return match === null ? 'not a date' : `${match[1]}T${match[2]}${match[3] ?? 'Z'}`
}

// The models under Celery's own names, exported one by one: what drizzle-kit reads.
const models = resultModels()
/** Celery's `celery_taskmeta`. */
export const task: ResultModels['task'] = models.task
/** Celery's `celery_tasksetmeta`. */
export const group: ResultModels['group'] = models.group
