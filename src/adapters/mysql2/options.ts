import { userInfo } from 'node:os'
import type { Dburi } from '../../dburi/types.ts'
import { SESSION_ATTRS, type TargetSessionAttrs } from '../../driver/endpoints.ts'
import { printable } from '../../driver/socket.ts'
import type { AdapterOptions } from '../../driver/types.ts'
import { OptionError, type ServerTarget } from '../../errors.ts'
import { invalid, refused } from '../../options/values.ts'
import { collationIn, type RawMysqlOptions, validateOptions } from './allowed-options.ts'
import { type TlsPlan, tlsPlan } from './tls.ts'

/** Everything a dburi and the defaults say about connecting to MySQL or MariaDB. */
export interface MysqlPlan {
  /** Where to try, in the order given. */
  readonly endpoints: readonly ServerTarget[]
  /** What a server must be to be used, by libpq's name and words. */
  readonly targetSessionAttrs: TargetSessionAttrs
  readonly user: string
  /** `null` for none: tables are then named with their database. */
  readonly database: string | null
  readonly tls: TlsPlan
  /** The time zone of every session, as the server takes it; `null` for the server's own. */
  readonly timeZone: string | null
  /** The collation that literals and parameters are compared by; `null` for the server's default of utf8mb4. */
  readonly collation: string | null
  /** For one attempt at one endpoint, from looking up its name until the server lets us in, in ms. */
  readonly connectTimeout: number
  /** How long a connection is idle before TCP probes it, in ms; `null` for never. */
  readonly keepAlive: number | null
  /** A function, so that inspecting, logging or serialising the plan shows no password. */
  password(): string | null
}

const USUAL_PORT = 3_306

/**
 * Turns a parsed dburi into all that is needed to connect. It knows the options of PyMySQL and mysqlclient, as
 * SQLAlchemy passes them on, of mysql2, of MySQL's own clients, and Prisma's and PlanetScale's for TLS. Where the dburi
 * is silent: localhost, 3306, the user of the operating system as PyMySQL has it, and no database.
 * @throws OptionError `REFUSED_OPTION` for what is dangerous or cannot be honoured, `UNKNOWN_OPTION` for what nobody
 *   knows, `INVALID_OPTION` for a wrong value
 */
export function mysqlOptions(dburi: Dburi, options: Pick<AdapterOptions, 'timeZone'> = {}): MysqlPlan {
  const given = validateOptions(dburi)
  const { password } = dburi
  const tls = tlsPlan(given)
  assertNoKeyIsAsked(given, tls)
  return {
    endpoints: endpointsOf(dburi),
    targetSessionAttrs: given.word('target_session_attrs', SESSION_ATTRS) ?? 'any',
    user: printable('user', dburi.user || operatingSystemUser()),
    database: dburi.database ? printable('database', dburi.database) : null,
    tls,
    timeZone: timeZone(given, options.timeZone),
    collation: collation(given),
    connectTimeout: connectTimeout(given),
    keepAlive: given.boolean('enableKeepAlive') === false ? null : 60_000,
    password: () => password,
  }
}

/** Where there may be no TLS, the server is asked for the key that hides the password, which somebody else may answer. */
function assertNoKeyIsAsked(given: RawMysqlOptions, { mode }: TlsPlan): void {
  const mayBePlain = mode === 'DISABLED' || mode === 'PREFERRED'
  if (given.boolean('allowPublicKeyRetrieval') !== false || !mayBePlain) return
  const reason = 'without TLS the key of the server is asked for, so require TLS: ssl_mode=VERIFY_IDENTITY'
  throw refused('allowPublicKeyRetrieval', reason)
}

/** In seconds as Python's drivers have it, or in milliseconds as mysql2 does. */
function connectTimeout(given: RawMysqlOptions): number {
  const seconds = given.seconds('connect_timeout')
  const milliseconds = given.text('connectTimeout')
  if (milliseconds === null) return (seconds ?? 10) * 1_000
  if (seconds !== null) throw invalid('connectTimeout', 'left out beside connect_timeout')
  if (!/^[1-9]\d{0,8}$/.test(milliseconds))
    throw invalid('connectTimeout', 'a number of milliseconds above 0')
  return Number(milliseconds)
}

/**
 * UTC unless something else is asked for: by the program, by the server's name for it, or by mysql2's `timezone`, which
 * says how dates are sent and can only agree.
 */
function timeZone(given: RawMysqlOptions, fromProgram: string | undefined): string | null {
  const name = TIME_ZONES.find((known) => given.text(known) !== null) ?? 'timeZone'
  const zone = fromProgram ?? given.text(name) ?? 'UTC'
  if (/^(?:z|utc|[+-]0?0:00)$/i.test(zone)) return '+00:00'
  if (/^server$/i.test(zone)) return null
  if (/^(?:[+-](?:0?\d|1[0-4]):[0-5]\d|[a-z][\w+-]*(?:\/[\w+-]+)*)$/i.test(zone)) return zone
  throw invalid(
    fromProgram === undefined ? name : 'timeZone',
    'UTC, an offset such as +09:00, a name such as Europe/Berlin, or server for that of the server',
  )
}

function collation(given: RawMysqlOptions): string | null {
  const text = given.text('collation')
  const byCharset = collationIn(given.text('charset') ?? '')
  if (text === null) return byCharset
  const named = collationIn(text)
  if (named === null) throw invalid('collation', 'a collation of utf8mb4, such as utf8mb4_unicode_ci')
  if (byCharset !== null && byCharset !== named)
    throw invalid('collation', 'left out, or say the same as charset')
  return named
}

const TIME_ZONES = ['time_zone', 'timeZone', 'timezone'] as const

function endpointsOf({ socket, hosts, host, port }: Dburi): ServerTarget[] {
  if (socket !== undefined) return [{ path: printable('unix_socket', socket) }]
  const places = hosts ?? [{ host: host || 'localhost', port }]
  return places.map((place) => ({ host: printable('host', place.host), port: place.port ?? USUAL_PORT }))
}

function operatingSystemUser(): string {
  try {
    return userInfo().username
  } catch (cause) {
    // A container may run under a number that has no name.
    const message = 'The dburi names no user, and the operating system neither'
    throw new OptionError('INVALID_OPTION', 'user', message, { cause })
  }
}
