/** A type as `format_type` writes it; one that PostgreSQL is not born with stays as it is, in lower case. */
export function catalogueType(text: string): string {
  // What is quoted has a name of its own, whatever it looks like.
  if (text.includes('"')) return text

  const [, name = '', modifier = '', zone = '', array = ''] = SHAPE.exec(plain(text)) ?? []
  const written = NAMES.get(name)
  if (written === undefined) return plain(text).replace(/(?:\[\d*\])+$/, '[]')

  const type = written(modifier.replaceAll(' ', ''), zone)
  return array === '' ? type : `${type}[]`
}

/** The name of a type that a user made, as `format_type` writes it while its schema is not on the search_path. */
export function catalogueName(schema: string | undefined, name: string): string {
  return schema === undefined ? quoteIfNeeded(name) : `${quoteIfNeeded(schema)}.${quoteIfNeeded(name)}`
}

function plain(text: string): string {
  return text.trim().toLowerCase().replace(/\s+/g, ' ')
}

/** `name (modifier) with time zone [][]` */
const SHAPE = /^([a-z0-9_ ]+?) ?(?:\(([^)]*)\))?( with(?:out)? time zone)? ?((?:\[\d*\])*)$/

type Write = (modifier: string, zone: string) => string

const named =
  (name: string): Write =>
  (modifier) =>
    modifier === '' ? name : `${name}(${modifier})`

/** Of one character or bit, when nobody says of how many. */
const counted =
  (name: string): Write =>
  (modifier) =>
    `${name}(${modifier || 1})`

const timed =
  (name: string, usualZone: string): Write =>
  (modifier, zone) =>
    named(name)(modifier, '') + (zone || usualZone)

const decimal: Write = (modifier) => {
  if (modifier === '') return 'numeric'
  return modifier.includes(',') ? `numeric(${modifier})` : `numeric(${modifier},0)`
}

const float: Write = (modifier) => (modifier !== '' && Number(modifier) < 25 ? 'real' : 'double precision')

const WITHOUT = ' without time zone'
const WITH = ' with time zone'

const NAMES = new Map<string, Write>([
  ...names('smallint', 'smallint', 'int2', 'smallserial', 'serial2'),
  ...names('integer', 'integer', 'int', 'int4', 'serial', 'serial4'),
  ...names('bigint', 'bigint', 'int8', 'bigserial', 'serial8'),
  ...names('real', 'real', 'float4'),
  ...names('double precision', 'double precision', 'float8'),
  ...names('boolean', 'boolean', 'bool'),
  ...names('character varying', 'character varying', 'varchar'),
  ...names('bit varying', 'bit varying', 'varbit'),
  ['float', float],
  ['numeric', decimal],
  ['decimal', decimal],
  ['dec', decimal],
  ['character', counted('character')],
  ['char', counted('character')],
  ['bit', counted('bit')],
  ['bpchar', (modifier) => (modifier === '' ? 'bpchar' : `character(${modifier})`)],
  ['timestamp', timed('timestamp', WITHOUT)],
  ['timestamptz', timed('timestamp', WITH)],
  ['time', timed('time', WITHOUT)],
  ['timetz', timed('time', WITH)],
])

function names(written: string, ...aliases: string[]): [string, Write][] {
  return aliases.map((alias) => [alias, named(written)])
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
