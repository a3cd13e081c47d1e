import { optionsOf } from '../../dburi/secrets.ts'
import type { Dburi } from '../../dburi/types.ts'
import { RawOptions, REPEATED_PARTS } from '../../driver/options.ts'
import { printable } from '../../driver/socket.ts'
import { MAX_RESPONSE_BYTES_NAMES } from '../../options/max-response-bytes.ts'
import { POOL_OPTION_NAMES } from '../../options/pool.ts'
import { invalid, refused, unknown } from '../../options/values.ts'

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
    const option = DRIVER_OPTIONS.find((known) => known === name)
    if (option === undefined) throw unknown(name, KNOWN)
    given.add(option, printable(name, value))
  }
  checkWithoutUse(given)
  return given
}

/** Options whose only acceptable values are those that ask for what is so anyway. */
function checkWithoutUse(given: RawMysqlOptions): void {
  const charset = given.text('charset') ?? 'utf8mb4'
  if (!/^utf-?8(?:mb[34])?$/i.test(charset)) throw invalid('charset', 'utf8mb4: nothing else is spoken')
  const timezone = given.text('timezone') ?? 'Z'
  if (!/^(?:z|utc|[+-]00:00|server)$/i.test(timezone)) {
    throw invalid('timezone', 'Z: dates are sent and read as UTC. The time zone of sessions is time_zone')
  }
  if (given.text('time_zone') !== null && given.text('timeZone') !== null) {
    throw invalid('timeZone', 'left out beside time_zone')
  }
}

/** What the driver understands of PyMySQL, mysqlclient, MySQL's clients, mysql2, Prisma and PlanetScale. */
const DRIVER_OPTIONS = [
  'charset',
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
  'sslcert',
  'sslmode',
  'time_zone',
  'timeZone',
  'timezone',
] as const

export type RawMysqlOptions = RawOptions<(typeof DRIVER_OPTIONS)[number]>

/** Understood, and without effect here: what they ask for is so anyway, or belongs to another driver's pool. */
const IGNORED: ReadonlySet<string> = new Set([
  'binary_prefix',
  'compress',
  'keepAliveInitialDelay',
  'program_name',
  'queueLimit',
  // The parser has read where the socket is.
  'socketPath',
  'unix_socket',
  'use_unicode',
  'waitForConnections',
])

const OTHER_MEANING = 'it changes what statements mean'
const OURS = 'the adapter decides it'
const FILES = 'option files are not read: write the options themselves'
const DEADLINE = 'use the option statementTimeout'

/** Refused by name in lower case, with the reason. */
const REFUSED: ReadonlyMap<string, string> = new Map([
  ['init_command', 'it runs a statement on every connection'],
  ['sql_mode', OTHER_MEANING],
  ['autocommit', OTHER_MEANING],
  ['conv', OTHER_MEANING],
  ['collation', OTHER_MEANING],
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
  ['multi_statements', 'it lets one statement become several'],
  ['multiplestatements', 'it lets one statement become several'],
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
  ...DRIVER_OPTIONS,
  ...IGNORED,
  ...REPEATED_PARTS.keys(),
]
