import { DburiError } from '../errors.ts'
import { readRemote, readServer } from './authority.ts'
import { readFile, readOpaque, readSlashes } from './paths.ts'
import { assertNoControls } from './query.ts'
import { findScheme } from './schemes.ts'
import { hideSecrets } from './secrets.ts'
import type { Dburi, Parts, RegisteredSchemes, Scheme } from './types.ts'

/**
 * Reads a dburi. It accepts what SQLAlchemy's `make_url` and libpq accept for PostgreSQL, SQLAlchemy for MySQL and
 * SQLite, `@libsql/client` for libSQL, all of them with Celery's `db+` in front. Where these differ:
 *
 * - User, password and database are percent-decoded as SQLAlchemy does: a stray `%` stays, invalid UTF-8 becomes U+FFFD.
 * - A password may hold `/ : ? #` (SQLAlchemy) and, as long as host and path can still be told apart, `@`.
 * - The query is read as by SQLAlchemy: `+` is a space, blank values are dropped, a repeated key gives a list.
 * - For PostgreSQL, `?host=`, `?port=`, `?user=`, `?password=` and `?dbname=` win over the authority (libpq).
 * - White space around the whole is ignored; control characters are refused everywhere, encoded ones too.
 * - More than 64 KiB of text are refused; what is read takes time in proportion to its length.
 *
 * @param schemes schemes of registered adapters, in lower case. `//` after one is followed by user, host and database
 * as in `postgresql://`; without it the rest is the database.
 * @throws DburiError, which never repeats the text
 */
export function parseDburi(text: string | URL, schemes: RegisteredSchemes = {}): Dburi {
  const { scheme, dbapi, rest } = findScheme(checkText(dburiText(text)), schemes)
  const parts = GRAMMARS[scheme.grammar](scheme, rest)
  return hideSecrets({
    dialect: scheme.dialect,
    driver: scheme.driver,
    dbapi,
    ...NOTHING,
    ...parts,
    ...(isMemory(scheme, parts) && { memory: true }),
    ...(scheme.flavor !== undefined && { flavor: scheme.flavor }),
  })
}

const GRAMMARS: Readonly<Record<Scheme['grammar'], (scheme: Scheme, rest: string) => Parts>> = {
  server: readServer,
  slashes: readSlashes,
  remote: readRemote,
  file: readFile,
  opaque: readOpaque,
}

const NOTHING = { host: null, port: null, user: null, password: null, database: null, options: {} }

/** Bytes of the longest dburi that is read. */
const MOST_BYTES = 65_536

function checkText(text: string): string {
  if (Buffer.byteLength(text) > MOST_BYTES) {
    throw new DburiError(
      'TOO_LONG',
      'dburi',
      'Cannot read the dburi: it is longer than 64 KiB. Name certificates by their files, and give a long password ' +
        'as an option of the engine',
    )
  }
  const trimmed = text.trim()
  if (trimmed === '') {
    throw new DburiError('EMPTY', 'dburi', 'Cannot open a database: the dburi is empty. Write postgresql://…')
  }
  assertNoControls('dburi', trimmed)
  return trimmed
}

/** Memory is asked for by name, by SQLite's `mode=memory`, or by naming no file at all. */
function isMemory({ grammar, memory }: Scheme, { database, options = {}, remoteScheme }: Parts): boolean {
  if (grammar === 'server' || remoteScheme !== undefined) return false
  if (database == null) return memory !== undefined
  if (database === ':memory:' || database === 'file::memory:') return true
  if (memory === 'memory://') return database.startsWith(memory)
  const { mode } = options
  return mode === 'memory' && (grammar === 'file' || database.startsWith('file:'))
}

/**
 * The text of a dburi as a program gives it: a string, or a `URL`.
 * @throws DburiError for what is neither, and for `file:` URLs
 */
export function dburiText(dburi: unknown): string {
  if (typeof dburi === 'string') return dburi
  if (isUrl(dburi)) return urlText(dburi)
  throw new DburiError(
    dburi == null ? 'EMPTY' : 'UNPARSABLE',
    'dburi',
    `Cannot open a database: the dburi is ${describe(dburi)}. Write postgresql://…`,
  )
}

/** `URL` makes `file:x.db` absolute, from the root, and drops what it takes for a host. */
function urlText({ href, protocol }: URL): string {
  if (protocol !== 'file:') return href
  throw new DburiError(
    'UNPARSABLE',
    'dburi',
    'Cannot open a database: new URL() makes another path of a file: dburi. ' +
      "Give the text itself, as in 'file:results.db'; of a URL of a file, `file:` and its fileURLToPath()",
  )
}

/** Of another realm too, as under Jest. */
function isUrl(value: unknown): value is URL {
  return Object.prototype.toString.call(value) === '[object URL]'
}

function describe(value: unknown): string {
  if (value == null) return `${value} (is DATABASE_URL set?)`
  if (typeof value !== 'object') return `a ${typeof value}, not a text`
  if ('getEngine' in value) return 'a session manager, not a text'
  if ('checkout' in value || 'engine' in value) {
    return 'an engine or a session, not a text: that database is open already, and has `db`'
  }
  return Array.isArray(value) ? 'an array, not a text' : 'an object, not a text'
}
