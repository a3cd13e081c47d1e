import type { MysqlSequence } from '../../mysql-sequence.ts'
import type { Definition } from '../definition.ts'
import { label, qualified } from './text.ts'

/** A sequence, which only MariaDB has. */
export function sequenceDefinition(sequence: MysqlSequence): Definition {
  const { sequenceName: name, schema } = sequence
  const text = `CREATE SEQUENCE ${sequenceCalled(sequence)}`
  return {
    kind: 'sequence',
    name,
    schema,
    label: label(schema, name),
    columns: [],
    indexes: [],
    statements: () => [{ stage: 'sequence', text }],
  }
}

export function sequenceCalled({ sequenceName, schema }: MysqlSequence): string {
  return qualified(schema, sequenceName)
}
