import { is, type SQL } from 'drizzle-orm'
import {
  getMaterializedViewConfig,
  getViewConfig,
  PgMaterializedView,
  type PgView,
} from 'drizzle-orm/pg-core'
import type { Casing } from '../casing.ts'
import type { Definition } from '../definition.ts'
import { viewQuery } from '../view-query.ts'
import { ddlText } from './literal.ts'
import { label, qualified, quote, storedName, storedSchema } from './names.ts'
import { storageParameters } from './storage-parameters.ts'

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
