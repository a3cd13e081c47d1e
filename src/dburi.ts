import { findScheme } from './dburi/find-scheme.ts'
import { dburiText } from './dburi/input.ts'
import { readFile, readOpaque, readSlashes } from './dburi/paths.ts'
import { refuseControls } from './dburi/percent.ts'
import { readRemote } from './dburi/remote.ts'
import { LIBSQL, PGLITE } from './dburi/schemes.ts'
import { hideSecrets } from './dburi/secrets.ts'
import { readServer } from './dburi/server.ts'
import type { Dburi, Parts, RegisteredSchemes, Scheme } from './dburi/types.ts'
import { DburiError } from './errors.ts'

export { dburiText } from './dburi/input.ts'
export { SCHEMES } from './dburi/schemes.ts'
export { optionsOf, withOptions } from './dburi/secrets.ts'
export type { Dburi, DburiScheme } from './dburi/types.ts'

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
  refuseControls('dburi', trimmed)
  return trimmed
}

/** Memory is asked for by name, by SQLite's `mode=memory`, or by naming no file at all. */
function isMemory({ driver, grammar }: Scheme, { database, options = {}, remoteScheme }: Parts): boolean {
  if (grammar === 'server' || remoteScheme !== undefined) return false
  if (database == null) return driver === LIBSQL.driver || driver === PGLITE.driver
  if (database === ':memory:' || database === 'file::memory:') return true
  if (driver === PGLITE.driver) return database.startsWith('memory://')
  const { mode } = options
  return mode === 'memory' && (grammar === 'file' || database.startsWith('file:'))
}
