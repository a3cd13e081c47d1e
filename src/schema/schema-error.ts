import { SchemaError, type SchemaErrorCode } from '../errors.ts'
import type { Findings } from './database-schema.ts'

export interface Trouble {
  /** What could not be prepared, as reports call it. */
  readonly labels: readonly string[]
  /** The DDL of what is missing. */
  readonly statements: readonly string[]
  readonly grant?: string | undefined
  /** What was done before, where nothing takes it back. */
  readonly done?: readonly string[]
  readonly cause: unknown
}

/** The one error of a failed preparation: what, why, and the SQL that somebody with the right to could run. */
export function schemaError(code: SchemaErrorCode, reason: string, trouble: Trouble): SchemaError {
  const { labels, statements, grant, done = [], cause } = trouble
  const changed = done.length === 0 ? 'Nothing was changed' : `Done before and kept: ${done.join(', ')}`
  const parts = [`Cannot prepare ${labels.join(', ')}: ${reason}. ${changed}.`]
  if (statements.length > 0) parts.push(`What is missing:\n${statements.join(';\n')};`)
  if (grant !== undefined) parts.push(`What would let this role do it:\n${grant};`)

  return new SchemaError(code, parts.join('\n'), {
    statements,
    ...(grant !== undefined && { grant }),
    ...(cause !== undefined && { cause }),
  })
}

/** Everything that is missing, and every table that lacks something. */
export function labelsOf({ missing, gaps }: Findings): string[] {
  const tables = gaps.flatMap(({ difference }) => ('table' in difference ? difference.table : []))
  return [...missing.map(({ label }) => label), ...new Set(tables)]
}
