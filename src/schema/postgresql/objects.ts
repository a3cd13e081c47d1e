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
import { type Definition, unsupported } from '../definition.ts'
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

/** A policy that was linked to a table which is none of the models: one of Supabase's, for instance. */
export function policyDefinition(policy: PgPolicy, table: PgTable, casing: Casing | undefined): Definition {
  const { name: on, schema } = getTableConfig(table)
  // Without a schema its table is wherever the search_path finds it.
  const text = policyText(policy, schema, on, casing)
  return {
    kind: 'policy',
    ...storedName(policy.name),
    schema: storedSchema(schema),
    table: truncated(on),
    label: `policy ${label(undefined, policy.name)} on ${label(schema, on)}`,
    columns: [],
    indexes: [],
    statements: () => [{ stage: 'policy', text }],
  }
}

/** The table that a policy was linked to, which is no part of Drizzle's types. */
export function linkedTable(policy: PgPolicy): PgTable | undefined {
  const table: unknown = Reflect.get(policy, '_linkedTable')
  return is(table, PgTable) ? table : undefined
}

/** The policies among the models that were linked to a table, by whichever description of it. */
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
  const place = { owner: table, what: `its policy "${name}"`, casing }
  const roles = rolesOf(to).sort().map(roleText)

  let text = `CREATE POLICY ${quote(name)} ON ${qualified(schema, table)}`
  text += ` AS ${as.toUpperCase()} FOR ${command.toUpperCase()} TO ${roles.join(', ')}`
  if (using !== undefined) text += ` USING (${ddlText(using, place)})`
  if (withCheck !== undefined) text += ` WITH CHECK (${ddlText(withCheck, place)})`
  return text
}

function rolesOf(to: PgPolicyToOption): string[] {
  if (Array.isArray(to)) return to.flatMap(rolesOf)
  return [is(to, PgRole) ? to.name : to]
}

/** Names that PostgreSQL reads as words. */
const ROLE_WORDS = new Set(['public', 'current_role', 'current_user', 'session_user'])

function roleText(role: string): string {
  return ROLE_WORDS.has(role) ? role : quote(role)
}

/** A view, or undefined for one that somebody else looks after. */
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
  qualified(schema, name)
  return {
    kind,
    ...storedName(name),
    schema: storedSchema(schema),
    label: label(schema, name),
    columns: [],
    indexes: [],
    statements: (place) => [
      { stage: 'view', text: `CREATE ${kind.toUpperCase()} ${qualified(schema ?? place, name)}${tail}` },
    ],
  }
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

/** The definitions in their order, but each view behind those that its query reads. */
export function inOrderOfUse(definitions: readonly Definition[]): Definition[] {
  const views = definitions.filter(isView)
  const ordered = new Set<Definition>()
  const underWay = new Set<Definition>()
  for (const view of views) place(view)

  // Only views change places with views.
  const inTurn = ordered.values()
  return definitions.map((definition) =>
    isView(definition) ? (inTurn.next().value ?? definition) : definition,
  )

  function place(view: Definition): void {
    if (underWay.has(view)) return
    underWay.add(view)
    for (const other of views) if (isBelow(other, view)) place(other)
    ordered.add(view)
  }

  /** What stands behind a comma may be a column: such a word never outweighs what is read for sure. */
  function isBelow(other: Definition, view: Definition): boolean {
    return names(view, other, READ) || (names(view, other, LISTED) && !restsOn(other, view, new Set()))
  }

  function restsOn(view: Definition, ground: Definition, seen: Set<Definition>): boolean {
    if (seen.has(view)) return false
    seen.add(view)
    return views.some(
      (other) => names(view, other, READ) && (other === ground || restsOn(other, ground, seen)),
    )
  }
}

function isView({ kind }: Definition): boolean {
  return kind === 'view' || kind === 'materialized view'
}

const READ = '\\b(?:from|join|only|lateral|table)[\\s(]+'
const LISTED = ',\\s*'

/** Whether a view's query has the other's name behind `lead`. */
function names(view: Definition, other: Definition, lead: string): boolean {
  if (view === other) return false
  const text = view.statements(undefined).map((statement) => statement.text)
  const schema = other.schema ?? 'public'
  const name = `(?:${word(other.name)}|${word(other.modelName ?? other.name)})`
  const pattern = `${lead}(?:${word(schema)}\\s*\\.\\s*)?${name}(?!\\w|"|\\s*[.(])`
  return new RegExp(pattern, 'i').test(text.join())
}

function word(name: string): string {
  return `"?${name.replaceAll('"', '""').replace(/[$()*+.?[\\\]^{|}]/g, '\\$&')}"?`
}

/** The `WITH (…)` of an index or a view; nothing when there is nothing in it. */
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
