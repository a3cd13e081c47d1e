import { sql } from 'drizzle-orm'
import {
  customType,
  index,
  integer,
  PgSchema,
  type PgTableFn,
  pgSchema,
  pgSequence,
  pgTable,
  text,
  timestamp,
  varchar,
} from 'drizzle-orm/pg-core'
import { onceByNames } from './by-names.ts'

// drizzle-kit loads this file bare: it imports drizzle-orm and nothing else, and awaits nothing.

export interface ResultModelsOptions {
  /**
   * Celery's `database_table_names`.
   *
   * @default { task: 'celery_taskmeta', group: 'celery_tasksetmeta' }
   */
  readonly tableNames?: { readonly task?: string; readonly group?: string }
  /**
   * Celery's `database_table_schemas`. The sequence of a table lies in the schema of the table. A schema that is not
   * given is left to the connection's `search_path`, as Celery leaves it; `'public'` is written out like any other.
   */
  readonly schemas?: { readonly task?: string; readonly group?: string }
}

export type ResultModels = ReturnType<typeof makeResultModels>

const bytea = customType<{ data: Uint8Array; driverData: Uint8Array }>({ dataType: () => 'bytea' })

const modelsNamed = onceByNames(makeResultModels)

/**
 * Celery's two result tables and the sequences their ids come from, as `celery.backends.database.models` (5.2 to
 * 5.6) makes them. The same names give the same objects, so tables can be compared and cached by identity.
 */
export function resultModels(options: ResultModelsOptions = {}): ResultModels {
  return modelsNamed(options)
}

function makeResultModels({ tableNames, schemas }: ResultModelsOptions) {
  return {
    taskIdSequence: sequenceIn(schemas?.task, 'task_id_sequence'),
    task: taskTable(tableNames?.task ?? 'celery_taskmeta', schemas?.task),
    tasksetIdSequence: sequenceIn(schemas?.group, 'taskset_id_sequence'),
    group: groupTable(tableNames?.group ?? 'celery_tasksetmeta', schemas?.group),
  }
}

function taskTable(name: string, schema: string | undefined) {
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
    (columns) => [index(`ix_${name}_date_done`).on(columns.dateDone)],
  )
}

function groupTable(name: string, schema: string | undefined) {
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
  const name = schema === undefined ? sequence : `${quoted(schema)}.${quoted(sequence)}`
  const next = sql.raw(`nextval('${name.replaceAll("'", "''")}')`)
  return integer('id')
    .primaryKey()
    .default(next)
    .$defaultFn(() => next)
}

function quoted(identifier: string): string {
  return `"${identifier.replaceAll('"', '""')}"`
}

/** The models under Celery's own names, exported one by one: what drizzle-kit reads. */
export const { taskIdSequence, task, tasksetIdSequence, group } = resultModels()
