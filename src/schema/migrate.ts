import { type SQL, sql } from 'drizzle-orm'
import { causes, textOf } from '../causes.ts'
import { SchemaError } from '../errors.ts'
import type { DatabaseSchema, LockedSchema, SchemaReader } from './database-schema.ts'
import { type Migration, readMigrations } from './migrations.ts'
import type { Difference } from './report.ts'

/** Where the migrations of one dialect are, and where it is noted which of them ran. */
export interface MigrationsOptions {
  /** The folder that `drizzle-kit generate` writes ("out"), of drizzle-kit 0.x or 1.0. */
  readonly folder: string
  /**
   * The table that notes them. Not Drizzle's own, in which another program's migrations would hide yours.
   * @default 'drizzle_celery_migrations'
   */
  readonly table?: string
  /**
   * The last migration whose work is in the database already, when none has been noted yet: it and those before it are
   * noted without being run. For a database that `prepareModels` or another migrator made.
   */
  readonly baseline?: string
}

export interface Migrated {
  /** The names of the migrations that ran. */
  readonly migrated: string[]
  readonly differences: Difference[]
}

/** Runs the migrations that were not run yet, all or nothing, in one transaction that others wait for. */
export async function migrate(schema: DatabaseSchema, options: MigrationsOptions): Promise<Migrated> {
  const migrations = await readMigrations(options.folder)
  const journal = new Journal(schema, options.table ?? 'drizzle_celery_migrations')
  const noted = await journal.read(schema)
  if (noted !== undefined && migrations.every(({ name }) => noted.has(name))) {
    return { migrated: [], differences: edited(migrations, noted) }
  }

  return await schema.locked(
    async (locked) => {
      if (noted === undefined) await locked.rows(journal.create)
      const before = (await journal.read(locked)) ?? new Map<string, string>()
      const pending = migrations.filter(({ name }) => !before.has(name))
      const already = before.size === 0 ? upToBaseline(migrations, options) : []
      for (const migration of pending) {
        if (!already.includes(migration)) await run(migration, locked)
        await locked.rows(journal.note(migration))
      }
      return {
        migrated: pending.filter((migration) => !already.includes(migration)).map(({ name }) => name),
        differences: edited(migrations, before),
      }
    },
    { withoutForeignKeys: migrations.some(rebuildsTables) },
  )
}

async function run(migration: Migration, locked: LockedSchema): Promise<void> {
  try {
    await locked.run(migration.statements.filter((statement) => !FOREIGN_KEYS.test(statement)))
  } catch (cause) {
    const reason = causes(cause)
      .map((link) => textOf(link, 'message'))
      .at(-1)
    throw new SchemaError(
      'SCHEMA_MIGRATIONS',
      `Cannot run the migration ${migration.name}: ${reason}. Nothing was changed by it or by those that ran with it. ` +
        'If its work is in the database already, name it as the baseline.',
      { statements: migration.statements, cause },
    )
  }
}

/** drizzle-kit turns SQLite's foreign keys off around a table that it rebuilds, which a transaction does not heed. */
const FOREIGN_KEYS = /^pragma\s+foreign_keys\s*=\s*\w+;?$/i

function rebuildsTables({ statements }: Migration): boolean {
  return statements.some((statement) => FOREIGN_KEYS.test(statement))
}

function upToBaseline(
  migrations: readonly Migration[],
  { baseline, folder }: MigrationsOptions,
): Migration[] {
  if (baseline === undefined) return []
  const last = migrations.findIndex(({ name }) => name === baseline)
  if (last >= 0) return migrations.slice(0, last + 1)
  throw new SchemaError(
    'SCHEMA_MIGRATIONS',
    `Cannot take "${baseline}" as the baseline: ${folder} has no migration of that name, but ` +
      `${migrations.map(({ name }) => name).join(', ')}.`,
  )
}

function edited(migrations: readonly Migration[], noted: ReadonlyMap<string, string>): Difference[] {
  return migrations
    .filter(({ name, hash }) => noted.has(name) && noted.get(name) !== hash)
    .map(({ name }) => ({ kind: 'edited migration', migration: name }))
}

/** The table of what ran. */
class Journal {
  readonly #schema: DatabaseSchema
  readonly #table: SQL

  constructor(schema: DatabaseSchema, table: string) {
    this.#schema = schema
    this.#table = sql`${sql.identifier(table)}`
  }

  /** The hashes of the migrations that ran, by their names; undefined when nothing was noted in this database yet. */
  async read(reader: SchemaReader): Promise<Map<string, string> | undefined> {
    try {
      const rows = await reader.rows(sql`select name, hash from ${this.#table}`)
      return new Map(rows.map((row) => [textOf(row, 'name') ?? '', textOf(row, 'hash') ?? '']))
    } catch (error) {
      if (this.#schema.isMissingTable(error)) return undefined
      throw error
    }
  }

  get create(): SQL {
    return sql`create table if not exists ${this.#table} (name varchar(255) primary key, hash varchar(64) not null,
      applied_at timestamp default current_timestamp not null)`
  }

  note({ name, hash }: Migration): SQL {
    return sql`insert into ${this.#table} (name, hash) values (${name}, ${hash})`
  }
}
