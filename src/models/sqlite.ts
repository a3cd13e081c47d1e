import { customType, index, integer, sqliteTable, text } from 'drizzle-orm/sqlite-core'
import { onceByNames } from './by-names.ts'

// drizzle-kit loads this file bare: it imports drizzle-orm and nothing else, and awaits nothing.

export interface ResultModelsOptions {
  /**
   * Celery's `database_table_names`.
   *
   * @default { task: 'celery_taskmeta', group: 'celery_tasksetmeta' }
   */
  readonly tableNames?: { readonly task?: string; readonly group?: string }
}

export type ResultModels = ReturnType<typeof makeResultModels>

/** libSQL hands out an ArrayBuffer where Drizzle does not look first (raw `all`, a batch). */
const blob = customType<{ data: Uint8Array; driverData: Uint8Array | ArrayBuffer }>({
  dataType: () => 'BLOB',
  fromDriver: (value) => (value instanceof Uint8Array ? value : new Uint8Array(value)),
})

/**
 * SQLAlchemy's `DateTime` on SQLite: `YYYY-MM-DD HH:MM:SS.ffffff`, always six digits, taken for UTC. Celery compares it as
 * text when it cleans up, and SQLAlchemy 1.4 reads `.678` as 678 microseconds, so no other form is ever written.
 * Reading is lenient; what is no date at all comes back as an invalid Date rather than making the row unreadable.
 */
const datetime = customType<{ data: Date; driverData: string }>({
  dataType: () => 'DATETIME',
  toDriver: (date) => date.toISOString().replace('T', ' ').replace('Z', '000'),
  fromDriver: (value) => new Date(inUtc(String(value))),
})

const varchar155 = customType<{ data: string }>({ dataType: () => 'VARCHAR(155)' })
const varchar50 = customType<{ data: string }>({ dataType: () => 'VARCHAR(50)' })

const modelsNamed = onceByNames(makeResultModels)

/**
 * Celery's two result tables, as `celery.backends.database.models` (5.2 to 5.6) makes them. The same names give the
 * same objects, so tables can be compared and cached by identity.
 *
 * A Date keeps milliseconds. Where Celery's microseconds matter, select the text:
 * `db.select({ dateDone: sql<string>`${task.dateDone}` })`.
 */
export function resultModels(options: ResultModelsOptions = {}): ResultModels {
  return modelsNamed({ tableNames: options.tableNames ?? {} })
}

function makeResultModels({ tableNames }: ResultModelsOptions) {
  return {
    task: taskTable(tableNames?.task ?? 'celery_taskmeta'),
    group: groupTable(tableNames?.group ?? 'celery_tasksetmeta'),
  }
}

function taskTable(name: string) {
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
    (columns) => [index(`ix_${name}_date_done`).on(columns.dateDone)],
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

/** Naive text is UTC; a fraction longer than a Date keeps is cut, and a zone that somebody wrote is believed. */
function inUtc(text: string): string {
  const match = /^(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d(?::\d\d(?:\.\d{1,3})?)?)\d*(Z|[+-]\d\d:\d\d)?$/.exec(text)
  return match === null ? 'not a date' : `${match[1]}T${match[2]}${match[3] ?? 'Z'}`
}

/** The models under Celery's own names, exported one by one: what drizzle-kit reads. */
export const { task, group } = resultModels()
