import type { PgRole } from 'drizzle-orm/pg-core'
import type { Definition } from '../definition.ts'
import { label, quote, storedName } from './names.ts'

/** A role of the whole server, not of one database; undefined for one that somebody else looks after. */
export function roleDefinition(role: PgRole): Definition | undefined {
  // Drizzle's types keep all but the name to itself.
  const has = (property: string, expected: boolean): boolean => Reflect.get(role, property) === expected
  if (has('_existing', true)) return undefined

  const { name } = role
  let text = `CREATE ROLE ${quote(name)}`
  if (has('createDb', true)) text += ' CREATEDB'
  if (has('createRole', true)) text += ' CREATEROLE'
  if (has('inherit', false)) text += ' NOINHERIT'
  return {
    kind: 'role',
    ...storedName(name),
    schema: undefined,
    label: `role ${label(undefined, name)}`,
    columns: [],
    indexes: [],
    statements: () => [{ stage: 'role', text }],
  }
}
