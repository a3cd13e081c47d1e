import type { PgEnum } from 'drizzle-orm/pg-core'
import { type Definition, unsupported } from '../definition.ts'
import { literal } from './literal.ts'
import { label, qualified, storedName, storedSchema } from './names.ts'

export function enumDefinition({
  enumName: name,
  schema,
  enumValues,
}: PgEnum<[string, ...string[]]>): Definition {
  const values = enumValues.map((value) => {
    const text = literal(value)
    if (text === undefined) throw unsupported(name, 'it has a value with a NUL character')
    return text
  })
  qualified(schema, name)
  return {
    kind: 'enum',
    ...storedName(name),
    schema: storedSchema(schema),
    label: label(schema, name),
    columns: [],
    indexes: [],
    statements: (place) => [
      {
        stage: 'type',
        text: `CREATE TYPE ${qualified(schema ?? place, name)} AS ENUM (${values.join(', ')})`,
      },
    ],
  }
}
