import { optionsOf } from '../dburi/secrets.ts'
import type { Dialect } from '../dburi/types.ts'
import { LONGEST_TIMEOUT } from './pool.ts'
import { invalid, toNumber } from './values.ts'

/** The name in a dburi, in seconds as in programs. */
const NAME = 'statementTimeout'

/** What others call it, by dialect: how many of theirs are a second. Their 0 is for none. */
const SYNONYMS: Readonly<Record<Dialect, Readonly<Record<string, number>>>> = {
  // asyncpg, Prisma, JDBC, node-postgres.
  postgresql: { command_timeout: 1, socket_timeout: 1, socketTimeout: 1, query_timeout: 1_000 },
  // Prisma, Connector/J and MariaDB's connectors.
  mysql: { socket_timeout: 1, socketTimeout: 1_000 },
  // There it is how long to wait for a lock.
  sqlite: {},
}

/** Its spellings in a dburi. */
export const STATEMENT_TIMEOUT_NAMES: readonly string[] = [NAME]

type QueryOptions = Readonly<Record<string, string | readonly string[]>>

/**
 * Takes `statementTimeout` out of the query arguments of a dburi, in seconds.
 * @throws OptionError (`INVALID_OPTION`)
 */
export function takeStatementTimeout(
  options: QueryOptions,
  dialect: Dialect,
): { statementTimeout: number | undefined; rest: QueryOptions } {
  let statementTimeout: number | undefined
  let isGiven = false
  const rest: [string, string | readonly string[]][] = []
  for (const [name, value] of optionsOf({ options })) {
    const unit = name === NAME ? 1 : SYNONYMS[dialect][name]
    if (unit === undefined) {
      rest.push([name, value])
      continue
    }
    if (typeof value !== 'string' || isGiven) throw invalid(name, 'given once')
    isGiven = true
    const seconds = toNumber(name, value) / unit
    const mayBeNone = name !== NAME && seconds === 0
    if (!mayBeNone && !(seconds > 0 && seconds <= LONGEST_TIMEOUT)) throw invalid(name, wanted(unit))
    if (!mayBeNone) statementTimeout = seconds
  }
  return { statementTimeout, rest: Object.fromEntries(rest) }
}

function wanted(unit: number): string {
  return `a number of ${unit === 1 ? 'seconds' : 'milliseconds'} above 0, up to ${LONGEST_TIMEOUT * unit}`
}
