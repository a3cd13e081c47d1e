import { causes, textOf } from '../../errors.ts'
import type { SchemaErrorCode } from '../errors.ts'

/** Whether another session created the same or was in conflict, so that another attempt may succeed. */
export function isRace(error: unknown): boolean {
  const code = textOf(error, 'code') ?? ''
  if (code === 'XX000') return /concurrently (?:updated|deleted)/.test(textOf(error, 'message') ?? '')
  return RACES.has(code) || (code === '23505' && isOnCatalogue(error))
}

/** "Already there" in all its forms, deadlock, serialisation failure. */
const RACES = new Set(['42P07', '42P06', '42710', '42701', '42723', '40P01', '40001'])

/** Two sessions that create the same object at once violate a unique index of the catalogue. */
function isOnCatalogue(error: unknown): boolean {
  const constraint =
    textOf(error, 'constraint_name') ?? textOf(error, 'constraint') ?? textOf(error, 'message')
  return constraint !== undefined && /\bpg_[a-z_]+_index\b/.test(constraint)
}

/** Why the server rejected a definition; undefined for failures of the connection or the server. */
export function troubleOf(error: unknown): { code: SchemaErrorCode; reason: string } | undefined {
  for (const cause of causes(error)) {
    const state = textOf(cause, 'code') ?? ''
    const said = `${textOf(cause, 'message')} (${state})`
    const known = EXPLAINED.get(state)
    if (known !== undefined) return { code: known.code, reason: `${known.reason}: ${said}` }
    if (REFUSED.test(state)) return { code: 'SCHEMA_REFUSED', reason: said }
  }
  return undefined
}

const EXPLAINED = new Map<string, { readonly code: SchemaErrorCode; readonly reason: string }>([
  ['42501', { code: 'SCHEMA_PERMISSION', reason: 'this role may not do it' }],
  ['25006', { code: 'SCHEMA_READ_ONLY', reason: 'this connection may only read' }],
  ['3F000', { code: 'SCHEMA_MISSING_SCHEMA', reason: 'the schema is not there' }],
  ['55P03', { code: 'SCHEMA_LOCK_TIMEOUT', reason: 'another session kept a lock on them for more than 5 s' }],
])

/**
 * The SQLSTATE classes that reject a definition, as opposed to failures of the connection or the server; also
 * dependencies (2B), limits (54), states (55) and event triggers (P0, 38, 39).
 */
const REFUSED = /^(?:0A|0L|0P|22|23|2B|38|39|42|44|54|55|P0)[0-9A-Z]{3}$/
