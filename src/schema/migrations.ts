import { createHash } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { textOf } from '../causes.ts'
import { SchemaError } from '../errors.ts'

/** One migration of a drizzle-kit folder. */
export interface Migration {
  /** drizzle-kit's tag, such as `0000_first`. */
  readonly name: string
  /** SHA-256 of its file in hex, whatever the ends of its lines. */
  readonly hash: string
  readonly statements: readonly string[]
}

/**
 * The migrations of a folder in their order. Both layouts are read: drizzle-kit 0.x's `meta/_journal.json` beside
 * `<tag>.sql`, and 1.0's `<tag>/migration.sql`.
 * @throws SchemaError with code `SCHEMA_MIGRATIONS` when the folder holds neither
 */
export async function readMigrations(folder: string): Promise<Migration[]> {
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

/** What `drizzle-kit generate --custom` leaves for somebody to fill in. */
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
