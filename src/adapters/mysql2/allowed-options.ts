import { optionsOf } from '../../dburi/secrets.ts'
import type { Dburi } from '../../dburi/types.ts'
import { RawOptions, REPEATED_PARTS } from '../../driver/options.ts'
import { printable } from '../../driver/socket.ts'
import { MAX_RESPONSE_BYTES_NAMES } from '../../options/max-response-bytes.ts'
import { POOL_OPTION_NAMES } from '../../options/pool.ts'
import { STATEMENT_TIMEOUT_NAMES } from '../../options/statement-timeout.ts'
import { invalid, refused, toPlain, unknown } from '../../options/values.ts'

/**
 * The query arguments of a dburi that mean something here; those without effect are dropped, the others refused.
 * @throws OptionError
 */
export function validateOptions(dburi: Dburi): RawMysqlOptions {
  const given: RawMysqlOptions = new RawOptions()
  for (const [name, value] of optionsOf(dburi)) {
    const agrees = REPEATED_PARTS.get(name)
    if (agrees?.(dburi, value) === false) throw refused(name, 'the dburi says something else')
    if (agrees !== undefined || IGNORED.has(name)) continue

    const reason = REFUSED.get(name.toLowerCase())
    if (reason !== undefined) throw refused(name, reason)
    if (typeof value !== 'string') throw invalid(name, 'given once')
    if (MEANT_ANYWAY.get(name)?.test(value)) continue
    const option = driverOption(name)
    if (option === undefined) throw unknown(name, KNOWN)
    given.addOnce(option, printable(name, value), name)
  }
  checkWithoutUse(given)
  return given
}

/** Options whose only acceptable values are those that ask for what is so anyway. */
function checkWithoutUse(given: RawMysqlOptions): void {
  const charset = given.text('charset') ?? 'utf8mb4'
  if (!/^utf-?8(?:mb[34])?$/i.test(charset) && collationIn(charset) === null)
    throw invalid('charset', 'utf8mb4, or a collation of it: nothing else is spoken')
  const timezone = given.text('timezone') ?? 'Z'
  if (!/^(?:z|utc|[+-]00:00|server)$/i.test(timezone)) {
    throw invalid('timezone', 'Z: dates are sent and read as UTC. The time zone of sessions is time_zone')
  }
  if (given.text('time_zone') !== null && given.text('timeZone') !== null) {
    throw invalid('timeZone', 'left out beside time_zone')
  }
}

/**
 * The collation that an option asks for, for which mysql2 and mysql.js take `charset` as well; one of utf8 is the one of
 * utf8mb4 here. `null` if it is none that can be spoken.
 */
export function collationIn(text: string): string | null {
  const [, rest] = /^utf8(?:mb[34])?_([a-z0-9_]{1,60})$/i.exec(text) ?? []
  return rest === undefined ? null : `utf8mb4_${rest.toLowerCase()}`
}

/** An option by its name here, which may have hyphens or be in camel case elsewhere. */
function driverOption(name: string): DriverOption | undefined {
  if (Object.hasOwn(SYNONYMS, name)) return SYNONYMS[name]
  const plain = toPlain(name)
  return (
    DRIVER_OPTIONS.find((known) => known === name) ?? DRIVER_OPTIONS.find((known) => toPlain(known) === plain)
  )
}

/** What the driver understands of PyMySQL, mysqlclient, MySQL's clients, mysql2, Prisma and PlanetScale. */
const DRIVER_OPTIONS = [
  'allowPublicKeyRetrieval',
  'charset',
  'collation',
  'connect_timeout',
  'connectTimeout',
  'enableKeepAlive',
  'ssl',
  'ssl_ca',
  'ssl_cert',
  'ssl_check_hostname',
  'ssl_disabled',
  'ssl_key',
  'ssl_key_password',
  'ssl_mode',
  'ssl_verify_cert',
  'ssl_verify_identity',
  'sslaccept',
  'requireSSL',
  'sslcert',
  'sslmode',
  'target_session_attrs',
  'time_zone',
  'timeZone',
  'timezone',
  'tls',
  'useSSL',
  'verifyServerCertificate',
] as const

type DriverOption = (typeof DRIVER_OPTIONS)[number]

export type RawMysqlOptions = RawOptions<DriverOption>

/** What JDBC, Connector/Python and Go call an option of ours. */
const SYNONYMS: Readonly<Record<string, DriverOption>> = {
  characterEncoding: 'charset',
  connectionCollation: 'collation',
  connection_timeout: 'connect_timeout',
  serverTimezone: 'time_zone',
  connectionTimeZone: 'time_zone',
}

/** Options that ask for what is so anyway, where their value is one of these. */
const MEANT_ANYWAY: ReadonlyMap<string, RegExp> = new Map([
  ['auth_plugin', /^(?:caching_sha2_password|mysql_native_password|sha256_password)$/],
  ['parseTime', /^true$/i],
])

/** Understood, and without effect here: what they ask for is so anyway, or belongs to another driver's pool. */
const IGNORED: ReadonlySet<string> = new Set([
  'binary_prefix',
  'allowNativePasswords',
  // The pool has a new connection in place of one that is lost, and no session goes on upon another.
  'autoReconnect',
  'cachePrepStmts',
  'checkConnLiveness',
  'compress',
  'keepAliveInitialDelay',
  'program_name',
  'queueLimit',
  'reconnect',
  'rewriteBatchedStatements',
  // The parser has read where the socket is.
  'socketPath',
  'statement_cache_size',
  'unix_socket',
  'useServerPrepStmts',
  'useUnicode',
  'use_pure',
  'use_unicode',
  'waitForConnections',
])

const OTHER_MEANING = 'it changes what statements mean'
const OURS = 'the adapter decides it'
const FILES = 'option files are not read: write the options themselves'
const DEADLINE = 'say statementTimeout, in seconds'
const STATEMENT = 'it runs a statement on every connection: use the option onConnect of engines'

/** Refused by name in lower case, with the reason. */
const REFUSED: ReadonlyMap<string, string> = new Map([
  ['init_command', STATEMENT],
  ['init_sql', STATEMENT],
  ['initsql', STATEMENT],
  ['sessionvariables', STATEMENT],
  ['sql_mode', OTHER_MEANING],
  ['autocommit', OTHER_MEANING],
  ['conv', OTHER_MEANING],
  ['local_infile', 'it lets the server read files of this machine'],
  ['allow_local_infile', 'it lets the server read files of this machine'],
  [
    'idletimeout',
    'mysql2 counts it in milliseconds, and this library in seconds: write idle_timeout, in seconds',
  ],
  [
    'maxidle',
    'poolSize connections are kept, until idle_timeout, and maxOverflow beyond them closed at once: say these',
  ],
  ['infilestreamfactory', 'functions cannot come from a string'],
  ['allowlocalinfile', 'it lets the server read files of this machine'],
  ['allowmultiqueries', 'it lets one statement become several'],
  ['multiplestatements', 'it lets one statement become several'],
  ['zerodatetimebehavior', 'Drizzle reads dates itself: leave it out'],
  ['tinyint1isbit', 'Drizzle reads columns by their type in the models: leave it out'],
  ['createdatabaseifnotexist', 'it changes the server: create the database first'],
  ['interpolateparams', 'values never stand in the text of a statement: leave it out'],
  ['loc', 'dates are sent and read as UTC: leave it out'],
  ['minimumidle', 'connections are opened when they are needed: leave it out'],
  ['bigintasnumber', OURS],
  ['insertidasnumber', OURS],
  ['decimalasnumber', OURS],
  ['multi_statements', 'it lets one statement become several'],
  ['client_flag', OURS],
  ['flags', OURS],
  ['bignumberstrings', OURS],
  ['datestrings', OURS],
  ['decimalnumbers', OURS],
  ['jsonstrings', OURS],
  ['namedplaceholders', OURS],
  ['nesttables', OURS],
  ['rowsasarray', OURS],
  ['stringifyobjects', OURS],
  ['supportbignumbers', OURS],
  ['typecast', OURS],
  ['debug', 'it makes the driver print parameters and passwords'],
  ['trace', OURS],
  ['stream', 'functions cannot come from a string'],
  ['enablecleartextplugin', 'it sends the password as it is'],
  ['insecureauth', 'it sends the password as good as unprotected'],
  ['passwordsha1', 'write the password itself before the @'],
  ['read_default_file', FILES],
  ['read_default_group', FILES],
  ['read_timeout', DEADLINE],
  ['write_timeout', DEADLINE],
  ['sslidentity', 'PKCS #12 files are not read: use ssl_cert and ssl_key'],
  ['sslpassword', 'use ssl_key_password'],
])

const KNOWN = [
  ...POOL_OPTION_NAMES.filter((name) => name !== 'idleTimeout'),
  ...MAX_RESPONSE_BYTES_NAMES,
  ...STATEMENT_TIMEOUT_NAMES,
  ...DRIVER_OPTIONS,
  ...IGNORED,
  ...REPEATED_PARTS.keys(),
]
