import type { getViewConfig, MySqlSchema } from 'drizzle-orm/mysql-core'
import type { MysqlSequence } from '../../models/mysql-sequence.ts'
import { type Definition, objectDefinition } from '../definition.ts'
import { viewQuery } from '../expression.ts'
import type { Casing } from '../names.ts'
import { dotted } from '../text.ts'
import { ddlText, qualified, quote } from './text.ts'

/** A database that the models export; others are not created. */
export function schemaDefinition({ schemaName: name }: MySqlSchema): Definition {
  const text = `CREATE DATABASE ${quote(name)}`
  return objectDefinition(
    { kind: 'schema', name, schema: undefined, label: `schema ${name}` },
    'schema',
    () => text,
  )
}

/** A sequence, which only MariaDB has. */
export function sequenceDefinition(sequence: MysqlSequence): Definition {
  const { sequenceName: name, schema } = sequence
  const text = `CREATE SEQUENCE ${sequenceCalled(sequence)}`
  return objectDefinition(
    { kind: 'sequence', name, schema, label: dotted(schema, name) },
    'sequence',
    () => text,
  )
}

export function sequenceCalled({ sequenceName, schema }: MysqlSequence): string {
  return qualified(schema, sequenceName)
}

/** A view, or 'existing' for one that its model only describes. */
export function viewDefinition(
  view: ReturnType<typeof getViewConfig>,
  casing: Casing | undefined,
): Definition | 'existing' {
  const { name, schema, query, selectedFields, algorithm, sqlSecurity, withCheckOption } = view
  if (query === undefined) return 'existing'

  let text = 'CREATE'
  if (algorithm !== undefined) text += ` ALGORITHM = ${algorithm.toUpperCase()}`
  if (sqlSecurity !== undefined) text += ` SQL SECURITY ${sqlSecurity.toUpperCase()}`
  const context = { owner: name, what: 'its query', casing }
  text += ` VIEW ${qualified(schema, name)} AS (${ddlText(viewQuery(query, selectedFields, casing), context)})`
  if (withCheckOption !== undefined) text += ` WITH ${withCheckOption.toUpperCase()} CHECK OPTION`
  return objectDefinition({ kind: 'view', name, schema, label: dotted(schema, name) }, 'view', () => text)
}
