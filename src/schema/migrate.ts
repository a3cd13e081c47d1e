import { createHash } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { textOf } from '../errors.ts'
import { runClaimed, stuck } from './claims.ts'
import type { DatabaseSchema, Difference, LockedSchema } from './diff.ts'
import { SchemaError } from './errors.ts'
import { failed, Journal, type Migration, mayHaveRun, reasonOf } from './journal.ts'

/** Where the migrations of one dialect are, and where it is noted which of them ran. */
export interface MigrationsOptions {
  /** The folder that `drizzle-kit generate` writes ("out"), of drizzle-kit 0.x or 1.0. */
  readonly folder: string
  /**
   * The table that notes them, one for each program whose migrations may have the same names. Not Drizzle's own, in which
   * another program's migrations would hide yours.
   * @default 'drizzle_celery_migrations'
   */
  readonly table?: string | undefined
  /**
   * The last migration whose work is in the database already, when none has been noted yet: it and those before it are
   * noted without being run. For a database that `prepareModels` or another migrator made.
   */
  readonly baseline?: string | undefined
}

interface Migrated {
  /** The names of the migrations that ran. */
  readonly migrated: string[]
  readonly differences: Difference[]
}

/**
 * Runs the migrations that were not run yet while others wait: all or nothing, in one transaction, or where each
 * statement commits by itself one after the other, each noted when it is done.
 */
export async function migrate(schema: DatabaseSchema, options: MigrationsOptions): Promise<Migrated> {
  const table = options.table ?? 'drizzle_celery_migrations'
  const migrations = await readMigrations(options.folder)
  const journal = new Journal(schema, table)
  const noted = await journal.read(schema)
  const first = planOf(migrations, noted, options)
  if (noted !== undefined && first.unnoted.length === 0 && stuck(noted) === undefined) {
    return { migrated: [], differences: edited(migrations, noted) }
  }

  return await schema.locked(
    async (locked) => {
      if (noted === undefined) await journal.create(locked)
      if (locked.isLockLocal) {
        const plan = (noted: ReadonlyMap<string, string>) => planOf(migrations, noted, options)
        const { ran, before } = await runClaimed(plan, journal, locked)
        return { migrated: ran, differences: edited(migrations, before) }
      }
      const before = (await journal.read(locked)) ?? new Map<string, string>()
      const left = stuck(before)
      // Nobody else can be at it: we have the lock.
      if (left !== undefined) throw left.error(journal, migrations)
      const { unnoted, pending } = planOf(migrations, before, options)
      if (schema.commitsEach) {
        for (const migration of unnoted) {
          if (pending.includes(migration)) await runByItself(migration, locked, journal)
          await journal.note(migration, locked, { hasRun: pending.includes(migration) })
        }
      } else {
        // Noted first: a migration may change the search_path.
        for (const migration of unnoted) await journal.note(migration, locked)
        for (const migration of pending) await run(migration, locked)
      }
      return { migrated: pending.map(({ name }) => name), differences: edited(migrations, before) }
    },
    { lock: table, waitsForever: true, withoutForeignKeys: first.pending.some(rebuildsTables) },
  )
}

interface Plan {
  /** Those that the journal does not have. */
  readonly unnoted: readonly Migration[]
  /** Those of them that are to be run. */
  readonly pending: readonly Migration[]
}

function planOf(
  migrations: readonly Migration[],
  noted: ReadonlyMap<string, string> = new Map(),
  options: MigrationsOptions,
): Plan {
  // drizzle-kit 1.0 renames what 0.x wrote.
  const hashes = new Set(noted.values())
  const unnoted = migrations.filter(({ name, hash }) => !noted.has(name) && !hashes.has(hash))
  const done = upToBaseline(migrations, options)
  return { unnoted, pending: noted.size === 0 ? unnoted.filter((each) => !done.includes(each)) : unnoted }
}

async function run(migration: Migration, locked: LockedSchema): Promise<void> {
  const statements = migration.statements.filter((statement) => !FOREIGN_KEYS.test(statement))
  try {
    await locked.run(statements)
  } catch (cause) {
    const isThere = /already exists/.test(reasonOf(cause))
    const advice = isThere ? ' If its work is in the database already, name it as the baseline.' : ''
    const what = `run the migration ${migration.name}`
    throw failed(what, cause, `Nothing was changed by it or by those that ran with it.${advice}`, statements)
  }
}

/** Its error says how far it came: the statements that ran stay, and the next call would start the migration again. */
async function runByItself(migration: Migration, locked: LockedSchema, journal: Journal): Promise<void> {
  const { name, statements } = migration
  for (const [at, statement] of statements.entries()) {
    try {
      await locked.run([statement])
    } catch (cause) {
      const what = `run statement ${at + 1} of ${statements.length} of the migration ${name}`
      const first = mayHaveRun(cause) ? 'It may have been run' : 'None of its statements was run'
      const before =
        at === 0
          ? `${first}, and the migrations before this one stay`
          : `Those before it were run and stay (1 to ${at}), and so do the migrations before this one`
      const advice =
        `${before}. Undo them before you try again, or run the rest by hand, ` +
        `and note that: ${journal.noteText(migration)};`
      throw failed(what, cause, advice, statements.slice(at))
    }
  }
}

/** drizzle-kit turns SQLite's foreign keys off to rebuild a table, which has no effect inside a transaction. */
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

/**
 * The migrations of a folder in their order. Both layouts are read: drizzle-kit 0.x's `meta/_journal.json` beside
 * `<tag>.sql`, and 1.0's `<tag>/migration.sql`.
 * @throws SchemaError with code `SCHEMA_MIGRATIONS` when the folder holds neither
 */
async function readMigrations(folder: string): Promise<Migration[]> {
  const journal = await readOptional(join(folder, 'meta', '_journal.json'))
  const files =
    journal === undefined
      ? await taggedFolders(folder)
      : tagsOf(journal, folder).map((name) => ({ name, file: join(folder, `${name}.sql`) }))
  return Promise.all(files.map(({ name, file }) => readMigration(name, file, folder)))
}

async function taggedFolders(folder: string): Promise<{ name: string; file: string }[]> {
  const entries = await readdir(folder, { withFileTypes: true }).catch((cause: unknown) => {
    throw unreadable(folder, 'it cannot be listed', cause)
  })
  const names = entries
    .filter((entry) => entry.isDirectory() && /^\d/.test(entry.name))
    .map(({ name }) => name)
  if (names.length === 0)
    throw unreadable(folder, 'there is neither meta/_journal.json nor a folder a migration')
  return names.sort().map((name) => ({ name, file: join(folder, name, 'migration.sql') }))
}

function tagsOf(journal: string, folder: string): string[] {
  const entries: unknown = Reflect.get(Object(parse(journal, folder)), 'entries')
  if (!Array.isArray(entries)) throw unreadable(folder, 'meta/_journal.json has no entries')
  return entries.map((entry: unknown) => {
    const tag = textOf(entry, 'tag')
    if (tag === undefined) throw unreadable(folder, 'an entry of meta/_journal.json has no tag')
    return tag
  })
}

function parse(journal: string, folder: string): unknown {
  try {
    return JSON.parse(journal)
  } catch (cause) {
    throw unreadable(folder, 'meta/_journal.json is no JSON', cause)
  }
}

async function readMigration(name: string, file: string, folder: string): Promise<Migration> {
  const read = await readFile(file, 'utf8').catch((cause: unknown) => {
    throw unreadable(folder, `${file} cannot be read`, cause)
  })
  const text = read.replaceAll('\r\n', '\n')
  return {
    name,
    hash: createHash('sha256').update(text).digest('hex'),
    statements: text
      .split('--> statement-breakpoint')
      .map((statement) => statement.trim())
      .filter((statement) => statement.replace(COMMENTS, '') !== ''),
  }
}

/** `drizzle-kit generate --custom` writes files with nothing but comments. */
const COMMENTS = /--[^\n]*|\/\*[\s\S]*?\*\/|[\s;]+/g

/** The text of a file; undefined when there is none. */
async function readOptional(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, 'utf8')
  } catch (error) {
    if (textOf(error, 'code') === 'ENOENT') return undefined
    throw error
  }
}

function unreadable(folder: string, reason: string, cause?: unknown): SchemaError {
  return new SchemaError(
    'SCHEMA_MIGRATIONS',
    `Cannot run the migrations in ${folder}: ${reason}. It should be the "out" folder of drizzle-kit.`,
    cause === undefined ? {} : { cause },
  )
}
