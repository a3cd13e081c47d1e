import type { MySqlSchema } from 'drizzle-orm/mysql-core'
import type { Definition } from '../definition.ts'
import { quote } from './text.ts'

/** A database that the models export themselves; one that they only put tables in is its owner's to create. */
export function schemaDefinition({ schemaName: name }: MySqlSchema): Definition {
  const text = `CREATE DATABASE ${quote(name)}`
  return {
    kind: 'schema',
    name,
    schema: undefined,
    label: `schema ${name}`,
    columns: [],
    indexes: [],
    statements: () => [{ stage: 'schema', text }],
  }
}
