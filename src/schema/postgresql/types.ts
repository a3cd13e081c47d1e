import { is } from 'drizzle-orm'
import { isPgEnum, PgColumn, type PgEnum } from 'drizzle-orm/pg-core'
import { isDrizzle1 } from '../names.ts'
import { qualified, truncated } from './text.ts'

export interface ColumnType {
  /** As a statement writes it. */
  readonly text: string
  /** As `format_type` writes it; undefined if we cannot tell. */
  readonly catalogue: string | undefined
  /** How deep its arrays are nested; 0 when it is none. */
  readonly dimensions: number
  /** The column that describes the elements: itself, when it is no array or when Drizzle 1.0 made it. */
  readonly element: PgColumn
}

export function columnType(column: PgColumn): ColumnType {
  const base = baseColumn(column)
  if (base !== undefined) {
    const { text, catalogue, dimensions, element } = columnType(base)
    const size = 'size' in column && typeof column.size === 'number' ? column.size : ''
    return { text: `${text}[${size}]`, catalogue: asArray(catalogue), dimensions: dimensions + 1, element }
  }

  const dimensions = dimensionsOf(column)
  const type = enumOf(column)
  const text = type === undefined ? column.getSQLType() : qualified(type.schema, type.enumName)
  const catalogue = type === undefined ? catalogueType(text) : catalogueName(type.schema, type.enumName)
  return {
    text: text + '[]'.repeat(dimensions),
    catalogue: dimensions > 0 ? asArray(catalogue) : catalogue,
    dimensions,
    element: column,
  }
}

/** What the elements of an array are, which Drizzle 0.45 describes as a column. */
function baseColumn(column: PgColumn): PgColumn | undefined {
  if (!('baseColumn' in column)) return undefined
  return is(column.baseColumn, PgColumn) ? column.baseColumn : undefined
}

/** Drizzle 1.0 counts the dimensions of an array; what 0.45 calls so is the length of a vector. */
function dimensionsOf(column: PgColumn): number {
  if (!isDrizzle1 || !('dimensions' in column)) return 0
  return typeof column.dimensions === 'number' ? column.dimensions : 0
}

function enumOf(column: PgColumn): PgEnum<[string, ...string[]]> | undefined {
  return 'enum' in column && isPgEnum(column.enum) ? column.enum : undefined
}

/** The catalogue does not tell the dimensions of arrays apart. */
function asArray(type: string | undefined): string | undefined {
  return type === undefined || type.endsWith('[]') ? type : `${type}[]`
}

/** A type as `format_type` writes it; undefined for text that is not understood. */
function catalogueType(text: string): string | undefined {
  const [, type = text] = COLLATED.exec(text) ?? []
  const [, element = '', bounds = ''] = ARRAY.exec(type) ?? []
  const written = spokenType(element) ?? namedType(element)
  return written === undefined || bounds === '' ? written : `${written}[]`
}

/** The name of a type that a user made, as `format_type` writes it while its schema is not on the search_path. */
function catalogueName(schema: string | undefined, name: string): string {
  const stored = quoteIfNeeded(truncated(name))
  return schema === undefined ? stored : `${quoteIfNeeded(truncated(schema))}.${stored}`
}

/** A type, and the collation of its column. */
const COLLATED = /^(.*\S)\s+collate\s+(?:[\w$.]|"(?:[^"]|"")*")+\s*$/is

/** A type, and the bounds of its arrays. */
const ARRAY = /^\s*(.*?)((?:\s*\[\s*\d*\s*\])+|\s+array(?:\s*\[\s*\d+\s*\])?)?\s*$/is

/** A type with keywords of its own in the grammar. */
function spokenType(text: string): string | undefined {
  const words = lower(text)
    .replace(/\s+/g, ' ')
    .replace(/ ?([(),]) ?/g, '$1')
    .replace(/\)(?=\w)/, ') ')
  const [, name = '', modifier = '', zone = ''] = SPOKEN.exec(words) ?? []
  const [, fields] = INTERVAL.exec(name) ?? []
  return fields === undefined ? SPOKEN_TYPES.get(name)?.(modifier, zone) : timed(name, '')(modifier, zone)
}

/** `name (modifier) with time zone` */
const SPOKEN = /^([a-z ]+?)(?:\(([-\d,]*)\))?( with(?:out)? time zone)?$/

const INTERVAL =
  /^interval((?: (?:year|month|day|hour|minute|second))?(?: to (?:month|hour|minute|second))?)$/

/** A type known by its name in the catalogue, perhaps in a schema. */
function namedType(text: string): string | undefined {
  const [, path = '', spaced = ''] = NAMED.exec(text) ?? []
  const names = path.match(IDENTIFIERS)?.map(unquoted) ?? []
  const [name = '', schema] = names.toReversed()
  // A name that starts with _ is an array type, unless a user chose it.
  if (names.length === 0 || names.length > 2 || name.startsWith('_')) return undefined

  const modifier = spaced.replaceAll(/\s/g, '')
  const isNative = schema === undefined || schema === 'pg_catalog'
  const native = isNative ? NATIVE_TYPES.get(name) : undefined
  if (native !== undefined) return native(modifier, '')

  const type = catalogueName(isNative ? undefined : schema, name)
  if (modifier === '') return type
  // Each type writes its modifier in its own way: PostGIS in capitals.
  return VECTORS.has(name) ? `${type}(${modifier})` : undefined
}

const IDENTIFIER = String.raw`(?:[a-z_\u0080-\uffff][\w$\u0080-\uffff]*|"(?:[^"]|"")+")`
const IDENTIFIERS = new RegExp(IDENTIFIER, 'gi')
/** `schema.name (modifier)` */
const NAMED = new RegExp(String.raw`^(${IDENTIFIER}(?:\s*\.\s*${IDENTIFIER})*)\s*(?:\(([^()]*)\))?$`, 'i')

function unquoted(name: string): string {
  return name.startsWith('"') ? name.slice(1, -1).replaceAll('""', '"') : lower(name)
}

/** As PostgreSQL does it, whatever the language. */
function lower(text: string): string {
  return text.replace(/[A-Z]+/g, (letters) => letters.toLowerCase())
}

type Write = (modifier: string, zone: string) => string | undefined

const named =
  (name: string): Write =>
  (modifier) =>
    modifier === '' ? name : `${name}(${modifier})`

/** One character or bit by default. */
const counted =
  (name: string): Write =>
  (modifier) =>
    `${name}(${modifier || 1})`

const timed =
  (name: string, usualZone: string): Write =>
  (modifier, zone) =>
    // The maximum precision is a microsecond.
    named(name)(modifier && String(Math.min(Number(modifier), 6)), '') + (zone || usualZone)

const decimal: Write = (modifier) => {
  if (modifier === '') return 'numeric'
  return modifier.includes(',') ? `numeric(${modifier})` : `numeric(${modifier},0)`
}

const float: Write = (modifier) => (modifier !== '' && Number(modifier) < 25 ? 'real' : 'double precision')

const WITHOUT = ' without time zone'
const WITH = ' with time zone'

const SPOKEN_TYPES = new Map<string, Write>([
  ...names(named('smallint'), 'smallint'),
  ...names(named('integer'), 'integer', 'int'),
  ...names(named('bigint'), 'bigint'),
  ...names(named('real'), 'real'),
  ...names(named('double precision'), 'double precision'),
  ...names(named('boolean'), 'boolean'),
  ...names(float, 'float'),
  ...names(decimal, 'numeric', 'decimal', 'dec'),
  ...names(counted('character'), 'character', 'char', 'nchar', 'national character', 'national char'),
  ...names(named('character varying'), 'varchar', 'character varying', 'char varying', 'nchar varying'),
  ...names(named('character varying'), 'national character varying', 'national char varying'),
  ...names(counted('bit'), 'bit'),
  ...names(named('bit varying'), 'bit varying'),
  ...names(timed('timestamp', WITHOUT), 'timestamp'),
  ...names(timed('time', WITHOUT), 'time'),
])

/** Names in `pg_catalog` that `format_type` writes otherwise, and pseudo-types such as serial. */
const NATIVE_TYPES = new Map<string, Write>([
  ...names(named('smallint'), 'int2', 'smallserial', 'serial2'),
  ...names(named('integer'), 'int4', 'serial', 'serial4'),
  ...names(named('bigint'), 'int8', 'bigserial', 'serial8'),
  ...names(named('real'), 'float4'),
  ...names(named('double precision'), 'float8'),
  ...names(named('boolean'), 'bool'),
  ...names(decimal, 'numeric'),
  ...names(named('character varying'), 'varchar'),
  ...names((modifier) => (modifier === '' ? 'bpchar' : `character(${modifier})`), 'bpchar'),
  ...names((modifier) => (modifier === '' ? '"bit"' : `bit(${modifier})`), 'bit'),
  ...names(named('bit varying'), 'varbit'),
  ...names(timed('timestamp', WITHOUT), 'timestamp'),
  ...names(timed('timestamp', WITH), 'timestamptz'),
  ...names(timed('time', WITHOUT), 'time'),
  ...names(timed('time', WITH), 'timetz'),
  // Without its keywords the modifier is a bit mask.
  ...names((modifier) => (modifier === '' ? 'interval' : undefined), 'interval'),
])

/** Types of pgvector, with a number of dimensions. */
const VECTORS = new Set(['vector', 'halfvec', 'sparsevec'])

function names(write: Write, ...aliases: string[]): [string, Write][] {
  return aliases.map((alias) => [alias, write])
}

/** As `quote_identifier` does it. */
function quoteIfNeeded(name: string): string {
  return /^[a-z_][a-z0-9_]*$/.test(name) && !KEYWORDS.has(name) ? name : `"${name.replaceAll('"', '""')}"`
}

/** All but the unreserved ones of `pg_get_keywords()`, as of PostgreSQL 15. */
const KEYWORDS = new Set(
  `all analyse analyze and any array as asc asymmetric authorization between bigint binary bit boolean both case cast
  char character check coalesce collate collation column concurrently constraint create cross current_catalog
  current_date current_role current_schema current_time current_timestamp current_user dec decimal default deferrable
  desc distinct do else end except exists extract false fetch float for foreign freeze from full grant greatest group
  grouping having ilike in initially inner inout int integer intersect interval into is isnull join lateral leading least left like limit localtime localtimestamp national natural nchar none normalize not
  notnull null nullif numeric offset on only or order out outer overlaps overlay placing position precision primary real
  references returning right row select session_user setof similar smallint some substring symmetric table
  tablesample then time timestamp to trailing treat trim true union unique user using values varchar variadic verbose
  when where window with xmlattributes xmlconcat xmlelement xmlexists xmlforest xmlnamespaces xmlparse xmlpi xmlroot
  xmlserialize xmltable`.split(/\s+/),
)
