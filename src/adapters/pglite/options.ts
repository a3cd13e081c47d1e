import { optionsOf } from '../../dburi/secrets.ts'
import type { Dburi } from '../../dburi/types.ts'
import { invalid, refused, toBoolean, unknown } from '../../options/values.ts'

/** What a dburi asks of PGlite. */
export interface PglitePlan {
  /** The directory of the database; `null` for one in memory. */
  readonly path: string | null
  /** Let a statement resolve before the file system has it. */
  readonly relaxedDurability: boolean
}

/**
 * Validates the options of a dburi.
 * @throws OptionError for what is unknown, refused or wrong
 */
export function pgliteOptions(dburi: Dburi): PglitePlan {
  const { database, memory } = dburi
  let relaxedDurability: boolean | null = null
  for (const [name, value] of optionsOf(dburi)) {
    if (!RELAXED.has(name)) throw refusal(name)
    if (typeof value !== 'string' || relaxedDurability !== null) throw invalid(name, 'given once')
    relaxedDurability = toBoolean(name, value)
  }
  const path = memory === true ? null : database
  return { path, relaxedDurability: relaxedDurability ?? false }
}

const RELAXED: ReadonlySet<string> = new Set(['relaxedDurability', 'relaxed_durability'])

const LOGS = 'it would print statements with their parameters; give the engine a logger instead'
const PLACE = 'the dburi itself names the directory'
const CODE = 'it takes code or data, which a string cannot hold'
const ALWAYS_POSTGRES = 'PGlite has one user and one database, both called postgres'
const NO_NETWORK = 'PGlite runs in this process, so there is no connection to be set up'
const NO_STARTUP = 'PGlite starts with settings of its own; change them in SQL'

/** What PGlite, PostgreSQL or its clients know, and we do not pass on; by lower case, without separators. */
const REFUSED: ReadonlyMap<string, string> = new Map([
  ...reasons(LOGS, 'debug'),
  ...reasons(PLACE, 'datadir', 'fs', 'pgdata'),
  ...reasons(
    CODE,
    'extensions',
    'loaddatadir',
    'icudatadir',
    'parsers',
    'serializers',
    'wasmmodule',
    'fsbundle',
  ),
  ...reasons(CODE, 'pglitewasmmodule', 'initdbwasmmodule', 'initialmemory', 'noinitdb'),
  ...reasons(ALWAYS_POSTGRES, 'username', 'user', 'password', 'database', 'dbname'),
  ...reasons(NO_NETWORK, 'host', 'hostaddr', 'port', 'ssl', 'sslmode', 'sslrootcert', 'sslcert', 'sslkey'),
  ...reasons(NO_NETWORK, 'connecttimeout', 'channelbinding', 'targetsessionattrs', 'gssencmode', 'pgbouncer'),
  ...reasons(NO_NETWORK, 'keepalives', 'keepalivesidle', 'keepalivesinterval', 'keepalivescount', 'prepare'),
  ...reasons(NO_STARTUP, 'startparams', 'initdbstartparams', 'postgresqlconf', 'options', 'applicationname'),
  ...reasons(NO_STARTUP, 'searchpath', 'timezone', 'datestyle', 'intervalstyle', 'clientencoding', 'workmem'),
  ...reasons(NO_STARTUP, 'statementtimeout', 'locktimeout', 'idleintransactionsessiontimeout'),
  ...reasons(NO_STARTUP, 'defaulttransactionisolation', 'defaulttransactionreadonly', 'synchronouscommit'),
])

function reasons(reason: string, ...names: string[]): [name: string, reason: string][] {
  return names.map((name) => [name, reason])
}

function refusal(name: string): Error {
  const reason = REFUSED.get(name.toLowerCase().replaceAll(/[_.-]/g, ''))
  return reason === undefined ? unknown(name, RELAXED) : refused(name, reason)
}
