// drizzle-kit loads this file bare: it imports nothing, and awaits nothing.

/** Where Celery's two tables are. */
export interface ResultModelsOptions {
  /**
   * Celery's `database_table_names`.
   *
   * @default { task: 'celery_taskmeta', group: 'celery_tasksetmeta' }
   */
  readonly tableNames?: ByTable | undefined
  /**
   * Celery's `database_table_schemas`: databases on MySQL and MariaDB. The sequence of a table is where the table is.
   * On PostgreSQL a schema that is not given is left to the connection's `search_path`, as Celery
   * leaves it; `'public'` is written out like any other.
   *
   * @default the `search_path`, or the database of the connection
   */
  readonly schemas?: ByTable | undefined
  /**
   * `'dashboard'` adds the indexes by which `list()` finds tasks of a state, name, worker or queue in both of its orders, and
   * on PostgreSQL those whose id begins with a text, in tables of millions. Each makes stores a little slower, and
   * `prepare: 'upgrade'` creates them in a table that is there, which may take minutes.
   *
   * @default Celery's own
   */
  readonly indexes?: 'dashboard' | undefined
}

interface ByTable {
  readonly task?: string | undefined
  readonly group?: string | undefined
}

/** A table's name, and the schema it is in. */
export interface TableName {
  readonly name: string
  readonly schema: string | undefined
}

/** A table of tasks, and which of its columns are indexed together with the id. */
export interface TaskTableName extends TableName {
  readonly indexed: readonly IndexedColumns[]
}

/** By name in the model and in the database. */
export interface IndexedColumns {
  readonly name: string
  readonly columns: readonly [IndexedColumn, ...'dateDone'[]]
}

type IndexedColumn = 'status' | 'name' | 'worker' | 'queue'

/** One for each order of a list. Without those by date, all rows of the text would be read and sorted, or all that were done later. */
const DASHBOARD: readonly IndexedColumns[] = (['status', 'name', 'worker', 'queue'] as const).flatMap(
  (column): IndexedColumns[] => [
    { name: column, columns: [column] },
    { name: `${column}_date_done`, columns: [column, 'dateDone'] },
  ],
)

/** Makes models once for the same names, so that tables can be compared and cached by identity. */
export function onceByNames<Models>(
  make: (task: TaskTableName, group: TableName) => Models,
): (options?: ResultModelsOptions) => Models {
  const made = new Map<string, Models>()
  return ({ tableNames, schemas, indexes } = {}) => {
    const task = {
      name: tableNames?.task ?? 'celery_taskmeta',
      schema: schemas?.task,
      indexed: indexes === 'dashboard' ? DASHBOARD : [],
    }
    const group = { name: tableNames?.group ?? 'celery_tasksetmeta', schema: schemas?.group }
    const key = JSON.stringify([task, group])
    const models = made.get(key) ?? make(task, group)
    made.set(key, models)
    return models
  }
}

/** Quotes identifiers: `"` on PostgreSQL and SQLite, a backtick on MySQL. */
export function quoteBy(mark: '"' | '`'): (name: string) => string {
  return (name) => `${mark}${name.replaceAll(mark, mark + mark)}${mark}`
}

/** Names in the quotes of a dialect: one in its schema, and several in a row. */
export function namesBy(quote: (name: string) => string) {
  return {
    qualified: (schema: string | undefined, name: string): string =>
      schema === undefined ? quote(name) : `${quote(schema)}.${quote(name)}`,
    list: (names: readonly string[], comma = ', '): string => names.map(quote).join(comma),
  }
}

/** A text as standard SQL writes it. */
export function quotedText(value: string): string {
  return `'${value.replaceAll("'", "''")}'`
}
