import type { PgSequence, PgSequenceOptions } from 'drizzle-orm/pg-core'
import { type Definition, unsupported } from '../definition.ts'
import { label, qualified, storedName, storedSchema } from './names.ts'

export function sequenceDefinition(
  { seqName: name, schema, seqOptions }: PgSequence,
  key: string,
): Definition {
  if (name === undefined) throw unsupported(key, 'it is a sequence without a name')

  const options = sequenceOptions(name, seqOptions).map((option) => ` ${option}`)
  qualified(schema, name)
  return {
    kind: 'sequence',
    ...storedName(name),
    schema: storedSchema(schema),
    label: label(schema, name),
    columns: [],
    indexes: [],
    statements: (place) => [
      { stage: 'sequence', text: `CREATE SEQUENCE ${qualified(schema ?? place, name)}${options.join('')}` },
    ],
  }
}

/** What is not said is left to PostgreSQL, whose defaults drizzle-kit spells out. */
export function sequenceOptions(owner: string, options: PgSequenceOptions = {}): string[] {
  const numbers = NUMBERS.flatMap(([option, words]) => {
    const value = options[option]
    if (value === undefined) return []
    if (!/^-?\d+$/.test(String(value))) {
      throw unsupported(owner, `the option "${option}" of its sequence is no whole number`)
    }
    return `${words} ${value}`
  })
  return options.cycle ? [...numbers, 'CYCLE'] : numbers
}

const NUMBERS = [
  ['increment', 'INCREMENT BY'],
  ['minValue', 'MINVALUE'],
  ['maxValue', 'MAXVALUE'],
  ['startWith', 'START WITH'],
  ['cache', 'CACHE'],
] as const
