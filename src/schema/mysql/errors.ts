import { isOwnError } from '../../driver/statement.ts'
import { causes, textOf } from '../../errors.ts'
import type { SchemaErrorCode } from '../errors.ts'

/** The number the server gave to an error; undefined for one that is not the server's. */
export function numberOf(error: unknown): number | undefined {
  return refusalOf(error)?.number
}

interface Refusal {
  readonly number: number
  readonly state: string
  readonly message: string
}

/** The server's error among the causes. */
function refusalOf(error: unknown): Refusal | undefined {
  for (const cause of causes(error)) {
    const number: unknown = Reflect.get(Object(cause), 'errno')
    const state = textOf(cause, 'sqlState')
    if (typeof number !== 'number' || number < 1000 || state === undefined) continue
    return { number, state, message: textOf(cause, 'sqlMessage') ?? textOf(cause, 'message') ?? '' }
  }
  return undefined
}

/** Whether a concurrent change is the cause, so that another attempt may succeed. */
export function isRace(error: unknown): boolean {
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

/** Why a statement failed; undefined if there is nothing to add. */
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
  const isTrouble = TROUBLE.test(state) || TROUBLES.has(number) || number >= FROM_TIKV
  // Errors of the connection speak for themselves.
  if (isTrouble || causes(error).some(isOwnError)) return undefined
  return { code: 'SCHEMA_REFUSED', reason: tail }
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

/**
 * SQLSTATE classes of failures that are not the definition's: connection, login, transaction, memory, cancellation. All
 * other errors reject the definition, and a retry would not help.
 */
const TROUBLE = /^(?:08|28|40|53|57|58|70|XA)|^HY001$/

/**
 * The same where MySQL has no class but HY000: what came in between, files, disk and engine (1020 … 1030, 1114, 1194,
 * 1195), no memory, threads or stack (1041, 1119, 1135, 1436), what a server is in now (3032, 3168), a connection that it
 * ends (3169, 4031), locks and deadlines (1099, 1100, 1192, 1206, 1223, 1637, 1689, 3024, 3572), and its own failures
 * (1105, 1180, 1181, 1815, 1835).
 */
const TROUBLES: ReadonlySet<number> = new Set([
  1020, 1021, 1023, 1024, 1026, 1030, 1041, 1099, 1100, 1105, 1114, 1119, 1135, 1180, 1181, 1192, 1194, 1195,
  1206, 1223, 1436, 1637, 1689, 1815, 1835, 3024, 3032, 3168, 3169, 3572, 4031,
])

/** TiDB's storage errors start here. */
const FROM_TIKV = 9001
