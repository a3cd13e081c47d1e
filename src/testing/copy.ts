import { parseDburi } from '../dburi/parse.ts'
import { isPath } from '../dburi/schemes.ts'
import { DrizzleCeleryError } from '../errors.ts'
import { quoteBy } from '../models/names.ts'
import { SessionManager } from '../session/open-manager.ts'

/** A database for one test, or one file of tests. */
export interface TestDatabase extends AsyncDisposable {
  /** That of the database it was copied from, with the name of the copy. */
  readonly dburi: string
  /** Removes it. Dispose of its managers first; a server ends the connections that are left. */
  drop(): Promise<void>
}

/**
 * Copies a database that was prepared before: a file or a directory by the file system, one of a PostgreSQL server by
 * `create database … template`, which is quicker than preparing it anew by far. Nobody may have the original open.
 *
 * ```ts
 * await using database = await copyDatabase('postgresql://localhost/prepared')
 * await manager.session(database.dburi, …)
 * ```
 * @throws DburiError; DrizzleCeleryError with code `NOT_COPIED` where there is no copying (in memory, by network to libSQL, MySQL), and what
 * the server or the file system has against it
 */
export async function copyDatabase(dburi: string): Promise<TestDatabase> {
  const parsed = parseDburi(dburi)
  const { randomBytes } = await import('node:crypto')
  const suffix = randomBytes(6).toString('hex')
  if (parsed.memory === true || parsed.database === null)
    throw notCopied('it has no name that others could open it by')
  if (isPath(parsed)) return copyFiles(dburi, parsed.database, suffix)
  if (parsed.dialect === 'postgresql') return copyOnServer(dburi, parsed.database, suffix)
  throw notCopied(
    `there is no such thing on ${parsed.dialect} servers${parsed.dialect === 'mysql' ? ': see workerDatabase()' : ''}`,
  )
}

async function copyFiles(dburi: string, path: string, suffix: string): Promise<TestDatabase> {
  const { cp, rm, stat } = await import('node:fs/promises')
  const copy = withSuffix(path, suffix)
  const copied = renamed(dburi, path, copy)
  const log = await stat(`${path}-wal`).catch(() => null)
  if (log !== null && log.size > 0)
    throw notCopied('somebody has it open. Dispose of the manager that has prepared it')
  await cp(path, copy, { recursive: true, errorOnExist: true, force: false })
  const drop = async () => {
    const files = [copy, `${copy}-wal`, `${copy}-shm`, `${copy}.lock`]
    await Promise.all(files.map((file) => rm(file, { recursive: true, force: true })))
  }
  return { dburi: copied, drop, [Symbol.asyncDispose]: drop }
}

async function copyOnServer(dburi: string, name: string, suffix: string): Promise<TestDatabase> {
  const { sql } = await import('drizzle-orm')
  const bytes = new TextEncoder().encode(name).subarray(0, MOST_BYTES - suffix.length - 1)
  // As a stream: a letter that is cut is left out.
  const copy = `${new TextDecoder().decode(bytes, { stream: true })}_${suffix}`
  const copied = renamed(dburi, name, copy)
  const run = async (text: string) => {
    await using admin = new SessionManager({ models: { postgresql: {} }, prepare: 'none', pooled: false })
    // CREATE DATABASE wants nobody in the original, and needs to be sent from somewhere.
    const { dialect, db } = await admin.getEngine(renamed(dburi, name, 'postgres'))
    if (dialect === 'postgresql') await db.execute(sql.raw(text))
  }
  await run(`create database ${quoted(copy)} template ${quoted(name)}`)
  const drop = () => run(`drop database if exists ${quoted(copy)} with (force)`)
  return { dburi: copied, drop, [Symbol.asyncDispose]: drop }
}

const quoted = quoteBy('"')

/** What PostgreSQL keeps of a name. */
const MOST_BYTES = 63

/** Before the ending of a file, so that it stays what it is. */
function withSuffix(path: string, suffix: string): string {
  const ending = /(?<=[^/\\])\.[^./\\]+$/.exec(path)?.[0] ?? ''
  return `${path.slice(0, path.length - ending.length)}-${suffix}${ending}`
}

/** The dburi with another name in the place of its database's, before the options. */
export function renamed(dburi: string, name: string, other: string): string {
  const [before = '', ...options] = dburi.split('?')
  const written = [name, encodeURIComponent(name), encodeURI(name)].find((each) => before.endsWith(each))
  if (written === undefined)
    throw notCopied('its name is not the end of the dburi, as in postgresql://host/name')
  const end = written === name ? other : encodeURI(other)
  return [before.slice(0, before.length - written.length) + end, ...options].join('?')
}

export function notCopied(why: string): DrizzleCeleryError {
  return new DrizzleCeleryError('NOT_COPIED', `Cannot copy this database: ${why}.`)
}
