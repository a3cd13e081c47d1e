import { resolve } from 'node:path'
import { optionsOf } from '../../dburi/secrets.ts'
import type { Dburi } from '../../dburi/types.ts'
import type { AdapterOptions } from '../../driver/types.ts'
import { OptionError } from '../../errors.ts'
import { pathUnder, realPath } from '../../options/paths.ts'
import { invalid, refused, toBoolean, together, toNumber, toWord, unknown } from '../../options/values.ts'
import { type Option, SPELLINGS as PRAGMA_SPELLINGS, PRAGMAS, pragmaApart } from './pragmas.ts'

/** What a dburi says about opening a libSQL database. */
export interface LibsqlPlan {
  readonly location: LibsqlLocation
  /** How long others may hold the database before a statement gives up, in milliseconds. */
  readonly busyTimeout: number
  /** How long a server may take for the answer to a request, in milliseconds. */
  readonly requestTimeout: number
  /** What each SQLite connection is told before it is used: `foreign_keys=1`. */
  readonly pragmas: readonly string[]
  /** Functions, so that inspecting or serialising the plan shows no secret. */
  authToken(): string | null
  encryptionKey(): string | null
}

/** The ways in which a crash does no harm. */
export type JournalMode = (typeof JOURNAL_MODES)[number]

export type LibsqlLocation =
  | { readonly kind: 'memory' }
  | {
      readonly kind: 'file'
      /** Its real path, links followed. */
      readonly path: string
      readonly mode: 'ro' | 'rw' | 'rwc'
      readonly journalMode: JournalMode | null
    }
  | {
      readonly kind: 'replica'
      readonly path: string
      readonly syncUrl: string
      /** Seconds; `null` for only when asked to. */
      readonly syncInterval: number | null
      readonly readYourWrites: boolean | null
      readonly offline: boolean | null
    }
  | {
      readonly kind: 'remote'
      readonly url: string
      readonly tls: boolean | null
      readonly host: string
      readonly port: number
    }

/**
 * Validates the options of a dburi, and where it leads.
 *
 * `timeout` is in seconds as in SQLAlchemy, and what only pysqlite knows has no effect here. A database in memory
 * belongs to its engine, so `cache=shared` asks for what is the case anyway: its sessions share it, other engines do not.
 *
 * @throws OptionError
 */
export function libsqlPlan(dburi: Dburi, { sqliteRoot }: Pick<AdapterOptions, 'sqliteRoot'>): LibsqlPlan {
  return new Given(dburi.options).settle((given) => planOf(dburi, given, sqliteRoot))
}

function planOf(dburi: Dburi, given: Given, sqliteRoot: string | undefined): LibsqlPlan {
  const location = locationOf(dburi, given, sqliteRoot)
  const timeout = timeoutOf(given, location)
  const requestTimeout = (location.kind === 'remote' ? given.take('request_timeout', toNumber) : null) ?? 60
  if (!(requestTimeout > 0 && requestTimeout <= 86_400)) {
    throw invalid('request_timeout', 'a number of seconds above 0, up to 86400')
  }
  const asksServer = location.kind === 'remote' || location.kind === 'replica'
  const hasFile = location.kind === 'file' || location.kind === 'replica'
  const authToken = (asksServer && given.take('authToken', (_, text) => text)) || dburi.password || null
  const encryptionKey = (hasFile && given.take('encryptionKey', (_, text) => text)) || null
  // A replica would send them to its server.
  const pragmas = location.kind === 'file' || location.kind === 'memory' ? pragmasOf(given) : []
  given.finish(location.kind)
  return {
    location,
    busyTimeout: timeout * 1_000,
    requestTimeout: requestTimeout * 1_000,
    pragmas,
    authToken: () => authToken,
    encryptionKey: () => encryptionKey,
  }
}

/** In seconds as SQLAlchemy and Prisma have it, or in milliseconds as the pragma does. */
function timeoutOf(given: Given, { kind }: LibsqlLocation): number {
  const seconds = given.take('timeout', toNumber)
  const milliseconds = kind === 'remote' ? null : given.take('busy_timeout', toNumber)
  if (seconds !== null && milliseconds !== null) throw invalid('busy_timeout', 'left out beside timeout')
  const timeout = seconds ?? (milliseconds === null ? 5 : milliseconds / 1_000)
  if (timeout >= 0 && timeout <= 86_400) return timeout
  throw milliseconds === null
    ? invalid('timeout', 'a number of seconds from 0 to 86400')
    : invalid('busy_timeout', 'a number of milliseconds from 0 to 86400000')
}

function pragmasOf(given: Given): string[] {
  // As transactions that may write begin here anyway; the word is mattn/go-sqlite3's.
  given.take('_txlock', (name, text) => toWord(name, text, ['immediate']))
  return Object.entries(PRAGMAS).flatMap(([name, read]) => {
    const value = given.take(name, read)
    return value === null ? [] : [`${name}=${value}`]
  })
}

const MODES = ['ro', 'rw', 'rwc', 'memory'] as const
const JOURNAL_MODES = ['wal', 'delete', 'truncate', 'persist'] as const

function locationOf(dburi: Dburi, given: Given, sqliteRoot: string | undefined): LibsqlLocation {
  if (dburi.remoteScheme !== undefined) return remotePlace(dburi, dburi.remoteScheme, given)
  const mode = given.take('mode', (name, text) => toWord(name, text, MODES)) ?? 'rwc'
  const isUri = given.take('uri', toBoolean) ?? false
  given.take('cache', (name, text) => toWord(name, text, ['shared', 'private']))
  const journalMode = given.take('journal_mode', (name, text) =>
    toWord(name, text.toLowerCase(), JOURNAL_MODES),
  )
  if (dburi.memory || mode === 'memory' || dburi.database === ':memory:') return { kind: 'memory' }

  const path = pathOf(dburi.database ?? '', isUri, sqliteRoot)
  const syncUrl = given.take('syncUrl', toSyncUrl)
  if (syncUrl === null) return { kind: 'file', path, mode, journalMode }
  if (mode !== 'rwc' || journalMode !== null) {
    throw refused(journalMode === null ? 'mode' : 'journal_mode', 'libSQL decides that for a replica')
  }
  return {
    kind: 'replica',
    path,
    syncUrl,
    syncInterval: given.take('syncInterval', toNumber),
    readYourWrites: given.take('readYourWrites', toBoolean),
    offline: given.take('offline', toBoolean),
  }
}

function pathOf(database: string, isUri: boolean, sqliteRoot: string | undefined): string {
  const path = isUri ? withoutScheme(database) : database
  if (path.includes('\0')) throw refusedPath('it holds a NUL character')
  if (sqliteRoot !== undefined) return pathUnder(sqliteRoot, path)
  if (path === '')
    throw refusedPath('it is empty, and SQLite would make a temporary one. Write file:path or :memory:')
  const real = realPath(resolve(path))
  // SQLite makes the file a dangling link points at; its name must be known for the mutex, but only from then on.
  return real ?? resolve(path)
}

/** pysqlite's `file:path` and `file:///path` with `uri=true`, percent-encoded once more than the dburi. */
function withoutScheme(database: string): string {
  const path = database.replace(/^file:(?:\/\/(?:localhost)?(?=\/))?/i, '')
  if (path === database) return database
  try {
    return decodeURIComponent(path)
  } catch {
    return path
  }
}

function refusedPath(reason: string): OptionError {
  return new OptionError('INVALID_OPTION', 'database', `Cannot open the SQLite file of the dburi: ${reason}`)
}

function remotePlace(
  { host, port, database }: Dburi,
  scheme: NonNullable<Dburi['remoteScheme']>,
  given: Given,
): LibsqlLocation {
  const tls = given.take('tls', toBoolean)
  const isEncrypted = scheme === 'libsql' ? tls !== false : scheme === 'https' || scheme === 'wss'
  if (tls !== null && tls !== isEncrypted) throw invalid('tls', `what the scheme ${scheme}: says already`)
  if (isEncrypted === false && scheme === 'libsql' && port === null) {
    throw invalid('tls', 'true where the dburi has no port')
  }
  const name = host ?? 'localhost'
  const authority = (name.includes(':') ? `[${name}]` : name) + (port === null ? '' : `:${port}`)
  const path = database === null ? '' : `/${database.split('/').map(encodeURIComponent).join('/')}`
  return {
    kind: 'remote',
    url: `${scheme}://${authority}${path}`,
    tls: scheme === 'libsql' ? isEncrypted : null,
    host: name,
    port: port ?? (isEncrypted ? 443 : 80),
  }
}

function toSyncUrl(name: string, text: string): string {
  const isUrl = /^(?:libsql|https?):\/\/[^/?#@]+(?:\/[^?#@]*)?(?:\?tls=[01])?$/.test(text)
  if (!isUrl) throw invalid(name, 'a libsql:, https: or http: URL without credentials')
  return text
}

/** How each option may be spelled; the first is the one we look for. */
const SPELLINGS: Readonly<Record<string, string>> = {
  timeout: 'timeout',
  request_timeout: 'request_timeout',
  requestTimeout: 'request_timeout',
  mode: 'mode',
  uri: 'uri',
  cache: 'cache',
  journal_mode: 'journal_mode',
  syncUrl: 'syncUrl',
  sync_url: 'syncUrl',
  syncInterval: 'syncInterval',
  sync_interval: 'syncInterval',
  readYourWrites: 'readYourWrites',
  read_your_writes: 'readYourWrites',
  offline: 'offline',
  authToken: 'authToken',
  auth_token: 'authToken',
  encryptionKey: 'encryptionKey',
  encryption_key: 'encryptionKey',
  tls: 'tls',
  // sqlalchemy-libsql's word.
  secure: 'tls',
  ...PRAGMA_SPELLINGS,
}

/** What only pysqlite has a use for. */
const DROPPED = new Set([
  'check_same_thread',
  'isolation_level',
  'detect_types',
  'cached_statements',
  'factory',
])

const REFUSED: Readonly<Record<string, string>> = {
  nolock: 'others would not see our locks, and the file would be damaged',
  immutable: 'others may change the file, and what is read would be wrong',
  vfs: 'libSQL has its own',
  psow: 'SQLite knows what the disk promises',
  enable_load_extension: 'it would let SQL run any code',
  load_extension: 'it would run any code',
  query_only: 'write mode=ro',
  init_sql:
    'it runs a statement on every connection: use the option onConnect of engines, or a pragma by its name',
  case_sensitive_like: 'it changes what statements mean',
  _cslike: 'it changes what statements mean',
  _loc: 'Drizzle reads dates itself: leave it out',
  password: 'a password for a file is its encryptionKey, one for a server its authToken',
}

/** Notes what is wrong and goes on: several pragmas share one option of the dburi, so nobody could ask without one of them. */
class Given {
  readonly #texts = new Map<string, { name: string; text: string }>()
  readonly #faults: OptionError[] = []

  constructor(options: Dburi['options']) {
    for (const [name, value] of optionsOf({ options }))
      for (const text of name === '_pragma' ? [value].flat() : [value])
        this.#collect(() => this.#note(pragmaApart([name, text])))
  }

  /** The option as it is read; `null` where it is missing or wrong. */
  take<Value>(option: string, read: (name: string, text: string) => Value): Value | null {
    const found = this.#texts.get(option)
    if (found === undefined) return null
    this.#texts.delete(option)
    return this.#collect(() => read(found.name, found.text))
  }

  /** Refuses what this kind of database has no use for. */
  finish(kind: LibsqlLocation['kind']): void {
    // Where one is wrong, another may seem to be without use.
    if (this.#faults.length > 0) return
    for (const { name } of this.#texts.values()) throw refused(name, WITHOUT_USE[kind])
  }

  /** @throws OptionError for everything that is wrong */
  settle<Settled>(read: (given: Given) => Settled): Settled {
    const settled = this.#collect(() => read(this))
    if (settled === null || this.#faults.length > 0) throw together(this.#faults)
    return settled
  }

  #note([name, text]: Option): void {
    if (DROPPED.has(name)) return
    if (Object.hasOwn(REFUSED, name)) throw refused(name, REFUSED[name] ?? '')
    const option = Object.hasOwn(SPELLINGS, name) ? SPELLINGS[name] : undefined
    if (option === undefined) throw unknown(name, Object.keys(SPELLINGS))
    if (typeof text !== 'string' || this.#texts.has(option)) throw invalid(name, 'given once')
    this.#texts.set(option, { name, text })
  }

  #collect<Value>(read: () => Value): Value | null {
    try {
      return read()
    } catch (error) {
      if (!(error instanceof OptionError)) throw error
      this.#faults.push(error)
      return null
    }
  }
}

const WITHOUT_USE: Readonly<Record<LibsqlLocation['kind'], string>> = {
  memory: 'a database in memory has no use for it',
  file: 'a file has no use for it without syncUrl',
  replica: 'a replica has no use for it',
  remote: 'a remote database has no use for it',
}
