import { sql } from 'drizzle-orm'
import {
  customType,
  index,
  integer,
  PgSchema,
  type PgSequence,
  type PgTableFn,
  pgSchema,
  pgSequence,
  pgTable,
  text,
  timestamp,
  varchar,
} from 'drizzle-orm/pg-core'
import type { AnyArity, GroupColumns, Present, TaskColumns, Words } from './columns.ts'
import {
  namesBy,
  onceByNames,
  quoteBy,
  quotedText,
  type ResultModelsOptions,
  type TableName,
  type TaskTableName,
} from './names.ts'

export type { ResultModelsOptions } from './names.ts'

// drizzle-kit loads this file bare: it imports drizzle-orm and what imports nothing else, and awaits nothing.

type Int = ReturnType<typeof integer>
declare const varcharOf: AnyArity & typeof varchar
type Varchar = Present<
  ReturnType<typeof varcharOf<string, string, Words, number | undefined>>,
  ReturnType<typeof varcharOf<string, Words>>
>
declare const textOf: AnyArity & typeof text
type Text = Present<
  ReturnType<typeof textOf<string, string, Words>>,
  ReturnType<typeof textOf<string, Words>>
>
type Timestamp = ReturnType<typeof timestamp>
interface Kinds {
  readonly id: ReturnType<ReturnType<ReturnType<Int['primaryKey']>['default']>['$defaultFn']>
  readonly taskId: Varchar
  readonly word: Varchar
  readonly defaultedWord: ReturnType<Varchar['$defaultFn']>
  readonly text: Text
  readonly bytes: ReturnType<ReturnType<typeof customType<Bytes>>>
  readonly date: Timestamp
  readonly defaultedDate: ReturnType<Timestamp['$defaultFn']>
  readonly count: Int
}
type Bytes = { data: Uint8Array; driverData: Uint8Array }

declare const table: PgTableFn<string | undefined>

/** Celery's tables as Drizzle has them; on servers the sequences of their ids too. */
export type ResultModels = {
  readonly taskIdSequence: PgSequence
  readonly task: ReturnType<typeof table<string, TaskColumns<Kinds>>>
  readonly tasksetIdSequence: PgSequence
  readonly group: ReturnType<typeof table<string, GroupColumns<Kinds>>>
}

const bytea = customType<Bytes>({ dataType: () => 'bytea' })

/**
 * Celery's two result tables and the sequences their ids come from, as `celery.backends.database.models` (5.2 to
 * 5.6) makes them. The same names give the same objects, so tables can be compared and cached by identity.
 */
export const resultModels: (options?: ResultModelsOptions) => ResultModels = onceByNames(makeResultModels)

function makeResultModels(task: TaskTableName, group: TableName) {
  return {
    taskIdSequence: sequenceIn(task.schema, 'task_id_sequence'),
    task: taskTable(task),
    tasksetIdSequence: sequenceIn(group.schema, 'taskset_id_sequence'),
    group: groupTable(group),
  }
}

function taskTable({ name, schema, indexed }: TaskTableName) {
  return tableIn(schema)(
    name,
    {
      id: idFrom('task_id_sequence', schema),
      taskId: varchar('task_id', { length: 155 }).unique(`${name}_task_id_key`),
      status: varchar('status', { length: 50 }).$defaultFn(() => 'PENDING'),
      result: bytea('result'),
      dateDone: timestamp('date_done'),
      traceback: text('traceback'),
      name: varchar('name', { length: 155 }),
      args: bytea('args'),
      kwargs: bytea('kwargs'),
      worker: varchar('worker', { length: 155 }),
      retries: integer('retries'),
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
      // By bytes: the index of the key is in the order of the database's collation, which finds no beginnings.
      ...(indexed.length > 0
        ? [index(`ix_${name}_id_prefix`).on(columns.taskId.op('text_pattern_ops'))]
        : []),
    ],
  )
}

function groupTable({ name, schema }: TableName) {
  return tableIn(schema)(
    name,
    {
      id: idFrom('taskset_id_sequence', schema),
      tasksetId: varchar('taskset_id', { length: 155 }).unique(`${name}_taskset_id_key`),
      result: bytea('result'),
      dateDone: timestamp('date_done').$defaultFn(() => new Date()),
    },
    (columns) => [index(`ix_${name}_date_done`).on(columns.dateDone)],
  )
}

function tableIn(schema: string | undefined): PgTableFn<string | undefined> {
  return schema === undefined ? pgTable : schemaCalled(schema).table
}

function sequenceIn(schema: string | undefined, name: string) {
  return schema === undefined ? pgSequence(name) : schemaCalled(schema).sequence(name)
}

/**
 * `pgSchema('public')` throws, its class does not, and `public` written out keeps another schema from coming first.
 * By reflection, since the constructor's parameters are not the same on Drizzle 0.45 and 1.0.
 */
function schemaCalled(name: string): PgSchema {
  return name === 'public' ? Reflect.construct(PgSchema, [name]) : pgSchema(name)
}

/**
 * Celery's own tables have no default on `id`, so an insert has to fetch the value itself. On ours the same default
 * stands in the table as well, so that an insert in plain SQL works too.
 */
function idFrom(sequence: string, schema: string | undefined) {
  const name = schema === undefined ? sequence : qualified(schema, sequence)
  const next = sql.raw(`nextval(${quotedText(name)})`)
  return integer('id')
    .primaryKey()
    .default(next)
    .$defaultFn(() => next)
}

const { qualified } = namesBy(quoteBy('"'))

// The models under Celery's own names, exported one by one: what drizzle-kit reads.
const models = resultModels()
/** What ids of `task` come from. */
export const taskIdSequence: ResultModels['taskIdSequence'] = models.taskIdSequence
/** Celery's `celery_taskmeta`. */
export const task: ResultModels['task'] = models.task
/** What ids of `group` come from. */
export const tasksetIdSequence: ResultModels['tasksetIdSequence'] = models.tasksetIdSequence
/** Celery's `celery_tasksetmeta`. */
export const group: ResultModels['group'] = models.group
