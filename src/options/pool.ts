import { optionsOf } from '../dburi/secrets.ts'
import type { Dialect } from '../dburi/types.ts'
import { OptionError } from '../errors.ts'
import { invalid, toBoolean, toNumber } from './values.ts'

/** How many connections an engine may hold, and for how long; the words and units are SQLAlchemy's. */
export interface PoolOptions {
  /** Connections that stay open when nobody uses them; at least 1. @default 5 */
  poolSize: number
  /** Connections beyond `poolSize` that may be opened, and are closed when returned; -1 for no limit. @default 10 */
  maxOverflow: number
  /** How long a checkout may wait for a connection, in seconds. @default 30 */
  poolTimeout: number
  /** The age in seconds at which a connection is closed, as soon as nobody uses it; -1 for never. @default 3600 */
  poolRecycle: number
  /** Ask an idle connection for a sign of life before it is handed out. @default true */
  poolPrePing: boolean
  /**
   * Seconds after which a connection that nobody used is closed; 0 keeps it. Has no effect on databases of one connection,
   * which would be gone with it or opened again for nothing: those in memory, PGlite and replicas.
   * @default 60 on servers (PostgreSQL, MySQL, remote libSQL), 0 on files
   */
  idleTimeout: number
}

/** Seconds after which an idle connection to a server is closed, if nobody says otherwise: mysql2's. */
export const SERVER_IDLE_TIMEOUT = 60

export const DEFAULT_POOL_OPTIONS: Readonly<PoolOptions> = {
  poolSize: 5,
  maxOverflow: 10,
  poolTimeout: 30,
  poolRecycle: 3_600,
  poolPrePing: true,
  idleTimeout: 0,
}

type QueryOptions = Readonly<Record<string, string | readonly string[]>>

/**
 * Takes the pool's options out of the query arguments of a dburi; `rest` is the driver's. The words are the same for all
 * dialects but `idleTimeout`, which for MySQL's drivers is their own, some of which count it in milliseconds.
 * @throws OptionError (`INVALID_OPTION`) naming the argument that is malformed, or says what another one said already
 */
export function takePoolOptions(
  options: QueryOptions,
  dialect: Dialect,
): { pool: Partial<PoolOptions>; rest: QueryOptions } {
  const pool: Partial<PoolOptions> = {}
  const rest: [string, string | readonly string[]][] = []
  for (const [name, value] of optionsOf({ options })) {
    const read = dialect === 'mysql' && name === 'idleTimeout' ? undefined : READERS.get(name)
    if (read === undefined) {
      rest.push([name, value])
      continue
    }

    if (typeof value !== 'string') throw repeatedOption(name)
    const said = read(name, value)
    for (const option of OPTIONS) {
      if (!(option in said)) continue
      if (option in pool) throw repeatedOption(name)
      checkOption(option, said[option], name)
    }
    Object.assign(pool, said)
  }
  return { pool, rest: Object.fromEntries(rest) }
}

type Reader = (name: string, text: string) => Partial<PoolOptions>

/** The spellings a dburi may use, and what each of them sets. */
const READERS: ReadonlyMap<string, Reader> = new Map<string, Reader>([
  ['pool_size', (name, text) => ({ poolSize: toNumber(name, text) })],
  ['max_overflow', (name, text) => ({ maxOverflow: toNumber(name, text) })],
  // 0 is Prisma's for a wait without end; SQLAlchemy, where it would mean not to wait at all, has no use for it.
  ['pool_timeout', (name, text) => ({ poolTimeout: toNumber(name, text) || LONGEST_TIMEOUT })],
  ['pool_recycle', (name, text) => ({ poolRecycle: toNumber(name, text) })],
  ['pool_pre_ping', (name, text) => ({ poolPrePing: toBoolean(name, text) })],
  ['poolSize', (name, text) => ({ poolSize: toNumber(name, text) })],
  ['maxOverflow', (name, text) => ({ maxOverflow: toNumber(name, text) })],
  ['poolTimeout', (name, text) => ({ poolTimeout: toNumber(name, text) })],
  ['poolRecycle', (name, text) => ({ poolRecycle: toNumber(name, text) })],
  ['poolPrePing', (name, text) => ({ poolPrePing: toBoolean(name, text) })],
  // One number for all connections: postgres.js and node-postgres, mysql2, and Prisma.
  ['max', (name, text) => ({ poolSize: toNumber(name, text), maxOverflow: 0 })],
  ['connectionLimit', (name, text) => ({ poolSize: toNumber(name, text), maxOverflow: 0 })],
  ['connection_limit', (name, text) => ({ poolSize: toNumber(name, text), maxOverflow: 0 })],
  // postgres.js has it in seconds too, and 0 for never.
  ['idle_timeout', (name, text) => ({ idleTimeout: toNumber(name, text) })],
  ['idleTimeout', (name, text) => ({ idleTimeout: toNumber(name, text) })],
  // What Rails, pgx, and MariaDB's connectors call the same; the last ones, and node-postgres, in milliseconds.
  ['pool', (name, text) => ({ poolSize: toNumber(name, text), maxOverflow: 0 })],
  ['pool_max_conns', (name, text) => ({ poolSize: toNumber(name, text), maxOverflow: 0 })],
  ['checkout_timeout', (name, text) => ({ poolTimeout: toNumber(name, text) })],
  ['acquireTimeout', (name, text) => ({ poolTimeout: toNumber(name, text) / 1_000 })],
  ['idleTimeoutMillis', (name, text) => ({ idleTimeout: toNumber(name, text) / 1_000 })],
  // node-postgres and Prisma, whose 0 means never.
  ['maxLifetimeSeconds', (name, text) => ({ poolRecycle: toNumber(name, text) || -1 })],
  ['max_connection_lifetime', (name, text) => ({ poolRecycle: toNumber(name, text) || -1 })],
  ['max_idle_connection_lifetime', (name, text) => ({ idleTimeout: toNumber(name, text) })],
  // postgres.js, whose 0 means never.
  ['max_lifetime', (name, text) => ({ poolRecycle: toNumber(name, text) || -1 })],
])

/** The names of pool options a dburi may use. */
export const POOL_OPTION_NAMES: readonly string[] = [...READERS.keys()]

const OPTIONS = [
  'poolSize',
  'maxOverflow',
  'poolTimeout',
  'poolRecycle',
  'poolPrePing',
  'idleTimeout',
] as const

/** In seconds; a timer of Node fires at once beyond 2^31 ms. */
export const LONGEST_TIMEOUT = 2_147_483

/** What the value of each option must be: as a test, and in words. */
export const POOL_RULES: Readonly<Record<keyof PoolOptions, readonly [(value: unknown) => boolean, string]>> =
  {
    poolSize: [(value) => isWhole(value) && value >= 1, 'a whole number from 1'],
    maxOverflow: [(value) => isWhole(value) && value >= -1, 'a whole number from 0, or -1 for no limit'],
    poolTimeout: [
      (value) => isNumber(value) && value > 0 && value <= LONGEST_TIMEOUT,
      `a number of seconds above 0, up to ${LONGEST_TIMEOUT}`,
    ],
    poolRecycle: [
      (value) => isNumber(value) && (value > 0 || value === -1),
      'a number of seconds above 0, or -1 for never',
    ],
    poolPrePing: [(value) => typeof value === 'boolean', 'true or false'],
    idleTimeout: [
      (value) => isNumber(value) && value >= 0 && value <= LONGEST_TIMEOUT,
      `a number of seconds from 0, which keeps them, up to ${LONGEST_TIMEOUT}`,
    ],
  }

function checkOption(option: keyof PoolOptions, value: unknown, name: string): void {
  const [isValid, wanted] = POOL_RULES[option]
  if (!isValid(value)) throw invalid(name, wanted)
}

function repeatedOption(name: string): OptionError {
  return new OptionError(
    'INVALID_OPTION',
    name,
    `The option ${name} says again what was said before: keep one`,
  )
}

function isWhole(value: unknown): value is number {
  return Number.isSafeInteger(value)
}

function isNumber(value: unknown): value is number {
  return Number.isFinite(value)
}
