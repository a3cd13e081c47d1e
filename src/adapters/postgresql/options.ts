import { userInfo } from 'node:os'
import { basename } from 'node:path'
import type { Dburi } from '../../dburi/types.ts'
import { SESSION_ATTRS, type TargetSessionAttrs } from '../../driver/endpoints.ts'
import { printable } from '../../driver/socket.ts'
import { OptionError, type ServerTarget } from '../../errors.ts'
import { invalid, toNumber } from '../../options/values.ts'
import { type RawPostgresOptions, validateOptions } from './allowed-options.ts'
import { type TlsPlan, tlsPlan } from './tls.ts'

/** The variables that speak where a dburi is silent; the last three name the user of the operating system. */
export interface PostgresEnvironment {
  readonly PGHOST?: string | undefined
  readonly PGPORT?: string | undefined
  readonly PGUSER?: string | undefined
  readonly PGPASSWORD?: string | undefined
  readonly PGDATABASE?: string | undefined
  readonly PGSSLMODE?: string | undefined
  readonly USER?: string | undefined
  readonly LOGNAME?: string | undefined
  readonly USERNAME?: string | undefined
}

/** Everything a dburi, the `PG*` variables and the defaults say about connecting to PostgreSQL. */
export interface PostgresPlan {
  /** Where to try, in the order given; `orderEndpoints` applies `loadBalanceHosts`. */
  readonly endpoints: readonly ServerTarget[]
  readonly loadBalanceHosts: 'disable' | 'random'
  readonly targetSessionAttrs: TargetSessionAttrs
  readonly user: string
  readonly database: string
  readonly tls: TlsPlan
  /** For one attempt at one endpoint, from looking up its name to the end of the TLS handshake, in ms. */
  readonly connectTimeout: number
  /** How long a connection is idle before TCP probes it, in ms; `null` for never. */
  readonly keepAlive: number | null
  /**
   * Server parameters for the startup message. Of what a dburi may set, PgBouncer lets through `application_name`,
   * `DateStyle` and `TimeZone` only.
   */
  readonly startup: Readonly<Record<string, string>>
  /** Rounds of PBKDF2 that a server may ask for before it lets us in: each thousand keeps the process from all else for 0.7 ms. */
  readonly scramMaxIterations: number
  /** Whether statements may be prepared by name: not behind a pooler that changes servers between transactions. */
  readonly prepare: boolean
  /** A pooler stands before the server that changes servers between transactions. */
  readonly isTransactionPooled: boolean
  /** A function, so that inspecting, logging or serialising the plan shows no password. */
  password(): string | null
}

/**
 * Turns a parsed dburi into all that is needed to connect, the way libpq reads its parameters: pure, apart from asking
 * the operating system for the user's name. Where the dburi is silent, `PGHOST`, `PGPORT`, `PGUSER`, `PGPASSWORD`,
 * `PGDATABASE` and `PGSSLMODE` speak; then localhost, 5432, the user of the operating system, and the database of
 * the user's name.
 *
 * Deviations from libpq, all on the careful side:
 * - a host stands for itself: `PGPORT` goes with `PGHOST`, and changes no server that the dburi names;
 * - without `sslmode`, loopback hosts are plaintext (sockets always are, as in libpq);
 * - `prefer` never goes back to plaintext after a TLS handshake that failed;
 * - `verify-ca` and `verify-full` without `sslrootcert` trust Node's CAs instead of failing, and no file under
 *   `~/.postgresql` is read;
 * - `channel_binding=require` becomes `verify-full`: postgres.js cannot bind SCRAM to the channel, and a verified
 *   server is the same protection against somebody in the middle.
 *
 * @throws OptionError `REFUSED_OPTION` for what is dangerous or cannot be honoured, `UNKNOWN_OPTION` for what nobody
 *   knows, `INVALID_OPTION` for a wrong value
 */
export function postgresOptions(dburi: Dburi, env: PostgresEnvironment = process.env): PostgresPlan {
  const { given, startup } = validateOptions(dburi)
  const endpoints = endpointsOf(dburi, env)
  const user = dburi.user || env.PGUSER || operatingSystemUser(env)
  const password = dburi.password || env.PGPASSWORD || null
  return {
    endpoints,
    loadBalanceHosts: given.word('load_balance_hosts', ['disable', 'random']) ?? 'disable',
    targetSessionAttrs: given.word('target_session_attrs', SESSION_ATTRS) ?? 'any',
    user: printable('user', user),
    database: printable('database', dburi.database || env.PGDATABASE || user),
    tls: tlsPlan(given, env.PGSSLMODE || null, endpoints),
    connectTimeout: (given.seconds('connect_timeout') ?? 10) * 1_000,
    keepAlive:
      given.boolean('keepalives') === false ? null : (given.seconds('keepalives_idle') ?? 60) * 1_000,
    // A database or a role may have another style, which nobody could read.
    startup: { application_name: 'drizzle-celery', DateStyle: 'ISO', ...startup },
    scramMaxIterations: scramMaxIterations(given),
    prepare: mayPrepare(given, endpoints),
    isTransactionPooled: isTransactionPooled(given, endpoints),
    password: () => password,
  }
}

const USUAL_PORT = 5_432

/** As in pgjdbc and node-postgres, under whose name it goes, and unlike there never without a limit. PostgreSQL's own is 4,096. */
function scramMaxIterations(given: RawPostgresOptions): number {
  const name = 'scramMaxIterations'
  const text = given.text(name)
  const iterations = text === null ? 100_000 : toNumber(name, text)
  if (!Number.isInteger(iterations) || iterations < 1 || iterations > 2 ** 31 - 1)
    throw invalid(name, 'a whole number from 1 to 2147483647')
  return iterations
}

/** The order in which to try the endpoints: as written, or shuffled for `load_balance_hosts=random`. */
export function orderEndpoints(
  { endpoints, loadBalanceHosts }: Pick<PostgresPlan, 'endpoints' | 'loadBalanceHosts'>,
  random: () => number = Math.random,
): ServerTarget[] {
  if (loadBalanceHosts === 'disable') return [...endpoints]

  const left = [...endpoints]
  return endpoints.flatMap(() => left.splice(Math.floor(random() * left.length), 1))
}

function endpointsOf(dburi: Dburi, env: PostgresEnvironment): ServerTarget[] {
  if (dburi.socket !== undefined) return [toSocket(dburi.socket, dburi.port ?? USUAL_PORT)]
  if (dburi.hosts !== undefined)
    return dburi.hosts.map(({ host, port }) => toEndpoint(host, port ?? USUAL_PORT))
  if (dburi.host) return [toEndpoint(dburi.host, dburi.port ?? USUAL_PORT)]

  const hosts = (env.PGHOST || 'localhost').split(',')
  const ports = env.PGPORT?.split(',') ?? []
  return hosts.map((host, index) => {
    const port = dburi.port ?? toPort(ports.length === 1 ? ports[0] : ports[index])
    return toEndpoint(host || 'localhost', port)
  })
}

function toEndpoint(host: string, port: number): ServerTarget {
  return host.startsWith('/') ? toSocket(host, port) : { host: printable('host', host), port }
}

/** A directory holds one socket per port; a name that is a socket's already is taken as it is. */
function toSocket(path: string, port: number): ServerTarget {
  const isFile = basename(path).startsWith('.s.PGSQL.')
  return { path: printable('host', isFile ? path : `${path.replace(/(?<!\/)\/+$/, '')}/.s.PGSQL.${port}`) }
}

function toPort(text: string | undefined): number {
  const port = text?.trim() ? toNumber('PGPORT', text.trim()) : USUAL_PORT
  if (!Number.isInteger(port) || port < 1 || port > 65_535) throw invalid('PGPORT', 'a port from 1 to 65535')
  return port
}

/** The caller's word, or else whether no endpoint looks like a pooler in transaction mode. */
function mayPrepare(given: RawPostgresOptions, endpoints: readonly ServerTarget[]): boolean {
  const prepare = given.boolean('prepare')
  if (prepare !== null) return prepare
  // psycopg's 0 means the opposite of JDBC's, "prepare at once"; not to prepare is slower but right for both.
  if (/^(0|none|null)$/i.test(given.text('prepare_threshold') ?? '')) return false
  for (const name of ['statement_cache_size', 'prepared_statement_cache_size'] as const) {
    const size = given.text(name)
    if (size !== null && toNumber(name, size) === 0) return false
  }
  return !isTransactionPooled(given, endpoints)
}

/** The caller's word, or else whether an endpoint looks like one. */
function isTransactionPooled(given: RawPostgresOptions, endpoints: readonly ServerTarget[]): boolean {
  return given.boolean('pgbouncer') ?? endpoints.some(isTransactionPooler)
}

/** PgBouncer's own port, Supabase's for transaction mode (its 5432 is session mode), and Neon's pooled hosts. */
function isTransactionPooler(endpoint: ServerTarget): boolean {
  if ('path' in endpoint) return /\.s\.PGSQL\.(6432|6543)$/.test(endpoint.path)
  return endpoint.port === 6432 || endpoint.port === 6543 || endpoint.host.includes('-pooler.')
}

function operatingSystemUser(env: PostgresEnvironment): string {
  try {
    return userInfo().username
  } catch (cause) {
    // A container may run under a number that has no name.
    const user = env.USER || env.LOGNAME || env.USERNAME
    if (user) return user
    throw new OptionError(
      'INVALID_OPTION',
      'user',
      'The dburi names no user, and the operating system neither',
      { cause },
    )
  }
}
