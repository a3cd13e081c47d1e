import { causes, textOf } from '../../causes.ts'
import type { SchemaErrorCode } from '../../errors.ts'

/** The number the server gave to an error; undefined for one that is not the server's. */
export function numberOf(error: unknown): number | undefined {
  return refusalOf(error)?.number
}

interface Refusal {
  readonly number: number
  readonly state: string
  readonly message: string
}

/** What the server said, somewhere beneath what a driver and Drizzle made of it. */
function refusalOf(error: unknown): Refusal | undefined {
  for (const cause of causes(error)) {
    const number: unknown = Reflect.get(Object(cause), 'errno')
    const state = textOf(cause, 'sqlState')
    if (typeof number !== 'number' || number < 1000 || state === undefined) continue
    return { number, state, message: textOf(cause, 'sqlMessage') ?? textOf(cause, 'message') ?? '' }
  }
  return undefined
}

/** Whether somebody else was at the same thing at the same time, so that looking again helps. */
export function isRace(error: unknown): boolean {
  if (causes(error).some((cause) => textOf(cause, 'code') === 'CONTENTION')) return true
  const refusal = refusalOf(error)
  if (refusal === undefined) return false
  // MariaDB and the name of a foreign key.
  return RACES.has(refusal.number) || (refusal.number === 1005 && /errno: 121\b/.test(refusal.message))
}

/**
 * "Already there" for databases, tables, columns, indexes, constraints; deadlock, a definition that has changed; TiDB's
 * "schema has changed" and write conflict.
 */
const RACES = new Set([1007, 1050, 1060, 1061, 1022, 1826, 3822, 1213, 1412, 8002, 8022, 8028, 9007])

interface Explanation {
  readonly code: SchemaErrorCode
  readonly reason: string
}

/** What kept a statement from being done; undefined when we cannot say it better. */
export function explanationOf(error: unknown): Explanation | undefined {
  const refusal = refusalOf(error)
  if (refusal === undefined) return undefined
  const { number, state, message } = refusal
  const tail = `${message} (${number})`
  if (isRace(error)) {
    return { code: 'SCHEMA_CONFLICT', reason: `others have it or keep creating it: ${tail}` }
  }
  const known = KNOWN.find(({ numbers }) => numbers.includes(number))
  if (known !== undefined) return { code: known.code, reason: `${known.reason}: ${tail}` }
  const isRefused = REFUSED.test(state) || REFUSED_NUMBERS.includes(number)
  return isRefused ? { code: 'SCHEMA_REFUSED', reason: tail } : undefined
}

const KNOWN: readonly (Explanation & { readonly numbers: readonly number[] })[] = [
  {
    numbers: [1044, 1142, 1143, 1227, 1370],
    code: 'SCHEMA_PERMISSION',
    reason: 'this user may not do it',
  },
  { numbers: [1290, 1792, 1836], code: 'SCHEMA_READ_ONLY', reason: 'this connection may only read' },
  {
    numbers: [1049],
    code: 'SCHEMA_MISSING_SCHEMA',
    reason: 'the database is not there, and databases are yours to create',
  },
  {
    numbers: [1046],
    code: 'SCHEMA_MISSING_SCHEMA',
    reason: 'the connection is to no database, and their models name none',
  },
  {
    numbers: [1205],
    code: 'SCHEMA_LOCK_TIMEOUT',
    reason: 'another session kept a lock on them for too long',
  },
]

/** The classes of SQLSTATE that find fault with a statement, as opposed to a connection or server in trouble. */
const REFUSED = /^(?:0A|21|22|23|42)[0-9A-Z]{3}$/

/** What MySQL has no class for: most of it about foreign keys, generated columns and defaults. */
const REFUSED_NUMBERS = [
  1005, 1067, 1071, 1214, 1215, 1235, 1294, 1300, 1366, 1485, 1674, 1822, 1824, 1825, 1826, 1830, 1901, 1903,
  1904, 1906, 3105, 3106, 3107, 3108, 3763, 3770, 3780, 3819, 4078, 4091, 4161,
]
