import { resolve } from 'node:path'
import { LIBPQ_OPTIONS } from './authority.ts'
import { isPath, rowOf } from './schemes.ts'
import { optionsOf } from './secrets.ts'
import type { Dburi } from './types.ts'

/**
 * A key for caches: the same for dburis that open the same database as the same user with the same options, different
 * for all others. It is a digest, so that nothing can be read from it. A host without a port has the dialect's usual
 * one; without a host the environment may say both.
 */
export function dburiKey(dburi: Dburi): string {
  // Not imported: loading it would cost every program that imports this package a few milliseconds at its start.
  const { createHash } = process.getBuiltinModule('node:crypto')
  const normal = JSON.stringify(normalize(dburi))
  return `${dburi.driver}:${createHash('sha256').update(normal).digest('hex')}`
}

/** What decides which database is opened, and how, in normal form. */
function normalize(dburi: Dburi): unknown {
  const { dialect, driver, flavor, remoteScheme, user, password, socket, hosts, memory } = dburi
  const [, row] = rowOf(dburi) ?? []
  const defaultPort = row?.defaultPort ?? null
  const places = (hosts ?? [dburi]).map((place) => [
    place.host?.toLowerCase() ?? null,
    place.port ?? (place.host === null ? null : defaultPort),
  ])
  const database = normalizeDatabase(dburi)
  const options = normalizeOptions(dburi)
  return { dialect, driver, flavor, remoteScheme, user, password, socket, places, memory, database, options }
}

function normalizeDatabase(dburi: Dburi): string | null {
  const { database, memory } = dburi
  if (database === null || !isPath(dburi)) return database
  const path = isFileUrl(dburi) ? database.replace(/^file:(\/\/(localhost)?(?=\/))?/, '') : database
  if (memory === true) return path === ':memory:' || path.startsWith('memory://') ? null : path
  return resolve(path)
}

/** What the parser has put into other properties counts once. */
function normalizeOptions(dburi: Dburi): unknown {
  const [, row] = rowOf(dburi) ?? []
  const isLibpq = row?.dialect === 'postgresql' && row.grammar === 'server'
  const merged = isLibpq ? LIBPQ_OPTIONS : isFileUrl(dburi) ? ['uri'] : []
  return optionsOf(dburi)
    .filter(([key]) => !merged.includes(key))
    .sort(([a], [b]) => (a < b ? -1 : 1))
}

/** SQLAlchemy's `sqlite:///file:path?uri=true`. */
function isFileUrl({ database, options }: Dburi): boolean {
  const { uri } = options
  if (typeof uri !== 'string' || !/^(1|true|yes|on|t|y)$/i.test(uri)) return false
  return database?.startsWith('file:') === true
}
