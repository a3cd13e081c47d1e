import { getTableUniqueName, is, type SQL } from 'drizzle-orm'
import {
  getMaterializedViewConfig,
  getTableConfig,
  getViewConfig,
  type PgEnum,
  PgMaterializedView,
  PgPolicy,
  type PgPolicyToOption,
  PgRole,
  type PgSchema,
  type PgSequence,
  type PgSequenceOptions,
  PgTable,
  type PgView,
} from 'drizzle-orm/pg-core'
import { type Definition, objectDefinition, type SchemaStatement, unsupported } from '../definition.ts'
import { viewQuery } from '../expression.ts'
import type { Casing } from '../names.ts'
import { ddlText, label, literal, qualified, quote, storedName, storedSchema, truncated } from './text.ts'

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
  return inSchema(
    'enum',
    schema,
    name,
    'type',
    (target) => `CREATE TYPE ${target} AS ENUM (${values.join(', ')})`,
  )
}

/** The definition of an object in a schema. A bad name throws now, before any statement of any definition runs. */
function inSchema(
  kind: Definition['kind'],
  schema: string | undefined,
  name: string,
  stage: SchemaStatement['stage'],
  create: (target: string) => string,
): Definition {
  qualified(schema, name)
  return objectDefinition(
    { kind, ...storedName(name), schema: storedSchema(schema), label: label(schema, name) },
    stage,
    (defaultSchema) => create(qualified(schema ?? defaultSchema, name)),
  )
}

/** A role of the whole server; undefined for one that is managed elsewhere. */
export function roleDefinition(role: PgRole): Definition | undefined {
  // Drizzle's types keep all but the name to itself.
  const has = (property: string, expected: boolean): boolean => Reflect.get(role, property) === expected
  if (has('_existing', true)) return undefined

  const { name } = role
  let text = `CREATE ROLE ${quote(name)}`
  if (has('createDb', true)) text += ' CREATEDB'
  if (has('createRole', true)) text += ' CREATEROLE'
  if (has('inherit', false)) text += ' NOINHERIT'
  return objectDefinition(
    { kind: 'role', ...storedName(name), schema: undefined, label: `role ${label(undefined, name)}` },
    'role',
    () => text,
  )
}

/** A schema that the models export; others are not created. */
export function schemaDefinition({ schemaName: name }: PgSchema): Definition {
  const text = `CREATE SCHEMA ${quote(name)}`
  return objectDefinition(
    { kind: 'schema', ...storedName(name), schema: undefined, label: `schema ${label(undefined, name)}` },
    'schema',
    () => text,
  )
}

export function sequenceDefinition(
  { seqName: name, schema, seqOptions }: PgSequence,
  key: string,
): Definition {
  if (name === undefined) throw unsupported(key, 'it is a sequence without a name')

  const options = sequenceOptions(name, seqOptions).map((option) => ` ${option}`)
  return inSchema(
    'sequence',
    schema,
    name,
    'sequence',
    (target) => `CREATE SEQUENCE ${target}${options.join('')}`,
  )
}

/** Options that are not given are left to PostgreSQL; drizzle-kit writes its defaults. */
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

/** A policy linked to a table that is not among the models, such as one of Supabase's. */
export function policyDefinition(policy: PgPolicy, table: PgTable, casing: Casing | undefined): Definition {
  const { name: on, schema } = getTableConfig(table)
  // Without a schema its table is wherever the search_path finds it.
  const text = policyText(policy, schema, on, casing)
  return objectDefinition(
    {
      kind: 'policy',
      ...storedName(policy.name),
      schema: storedSchema(schema),
      table: truncated(on),
      label: `policy ${label(undefined, policy.name)} on ${label(schema, on)}`,
    },
    'policy',
    () => text,
  )
}

/** The table a policy is linked to; not in Drizzle's types. */
export function linkedTable(policy: PgPolicy): PgTable | undefined {
  const table: unknown = Reflect.get(policy, '_linkedTable')
  return is(table, PgTable) ? table : undefined
}

/** The policies of the models that are linked to a table, by any model of it. */
export function policiesLinkedTo(table: PgTable, models: Record<string, unknown>): PgPolicy[] {
  return Object.values(models).filter((model): model is PgPolicy => {
    const linked = is(model, PgPolicy) ? linkedTable(model) : undefined
    return linked !== undefined && getTableUniqueName(linked) === getTableUniqueName(table)
  })
}

export function policyText(
  policy: PgPolicy,
  schema: string | undefined,
  table: string,
  casing: Casing | undefined,
): string {
  const { name, as = 'permissive', for: command = 'all', to = 'public', using, withCheck } = policy
  const context = { owner: table, what: `its policy "${name}"`, casing }
  const roles = rolesOf(to).sort().map(roleText)

  let text = `CREATE POLICY ${quote(name)} ON ${qualified(schema, table)}`
  text += ` AS ${as.toUpperCase()} FOR ${command.toUpperCase()} TO ${roles.join(', ')}`
  if (using !== undefined) text += ` USING (${ddlText(using, context)})`
  if (withCheck !== undefined) text += ` WITH CHECK (${ddlText(withCheck, context)})`
  return text
}

function rolesOf(to: PgPolicyToOption): string[] {
  if (Array.isArray(to)) return to.flatMap(rolesOf)
  return [is(to, PgRole) ? to.name : to]
}

/** Role names that are keywords. */
const ROLE_WORDS = new Set(['public', 'current_role', 'current_user', 'session_user'])

function roleText(role: string): string {
  return ROLE_WORDS.has(role) ? role : quote(role)
}

/** A view; undefined for one that is managed elsewhere. */
export function viewDefinition(
  view: PgView | PgMaterializedView,
  casing: Casing | undefined,
): Definition | undefined {
  const isMaterialized = is(view, PgMaterializedView)
  const config: ViewConfig = isMaterialized ? getMaterializedViewConfig(view) : getViewConfig(view)
  const { name, schema, query, selectedFields, with: parameters, using, tablespace, withNoData } = config
  if (query === undefined) return undefined

  let tail = using === undefined ? '' : ` USING ${quote(using)}`
  if (parameters !== undefined) tail += storageParameters(name, parameters)
  if (tablespace !== undefined) tail += ` TABLESPACE ${quote(tablespace)}`
  tail += ` AS (${ddlText(viewQuery(query, selectedFields, casing), { owner: name, what: 'its query', casing })})`
  if (withNoData) tail += ' WITH NO DATA'

  const kind = isMaterialized ? 'materialized view' : 'view'
  return inSchema(kind, schema, name, 'view', (target) => `CREATE ${kind.toUpperCase()} ${target}${tail}`)
}

interface ViewConfig {
  readonly name: string
  readonly schema: string | undefined
  readonly query?: SQL | undefined
  readonly selectedFields: object
  readonly with?: object | undefined
  // Of a materialized view only:
  readonly using?: string | undefined
  readonly tablespace?: string | undefined
  readonly withNoData?: boolean | undefined
}

/** The `WITH (…)` of an index or a view; empty without parameters. */
export function storageParameters(owner: string, parameters: object): string {
  const written = Object.entries(parameters)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => {
      const text = String(value)
      if (!/^\w[\w.]*$/.test(name) || !/^[-\w.]+$/.test(text)) {
        throw unsupported(owner, `its parameter "${name}" is neither a word nor a number`)
      }
      return `${name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)} = ${text}`
    })
  return written.length === 0 ? '' : ` WITH (${written.join(', ')})`
}
