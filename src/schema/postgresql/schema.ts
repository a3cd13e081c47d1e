import type { PgSchema } from 'drizzle-orm/pg-core'
import type { Definition } from '../definition.ts'
import { label, quote, storedName } from './names.ts'

/** A schema that the models export themselves; one that they only put tables in is its owner's to create. */
export function schemaDefinition({ schemaName: name }: PgSchema): Definition {
  const text = `CREATE SCHEMA ${quote(name)}`
  return {
    kind: 'schema',
    ...storedName(name),
    schema: undefined,
    label: `schema ${label(undefined, name)}`,
    columns: [],
    indexes: [],
    statements: () => [{ stage: 'schema', text }],
  }
}
