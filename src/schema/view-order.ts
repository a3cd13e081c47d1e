import { type Definition, inOrderOfNeed, reordered } from './definition.ts'

/**
 * Each view after the views that its query reads; everything else keeps its position.
 * @param home the schema of what has none in its model; undefined where that is the name of the database
 */
export function inOrderOfUse(definitions: readonly Definition[], home: string | undefined): Definition[] {
  const views = definitions.filter(isView)
  const ordered = inOrderOfNeed(views, (view) => views.filter((other) => isBelow(other, view)))
  return reordered(definitions, ordered)

  /** A name behind a comma may be a column, so it never overrides a name behind FROM or JOIN. */
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

  /** Whether a view's query has the other's name behind `lead`. */
  function names(view: Definition, other: Definition, lead: string): boolean {
    if (view === other) return false
    const text = view.statements(undefined).map((statement) => statement.text)
    const schema = other.schema ?? home
    const owner = schema === undefined ? `(?:\`[^\`]*\`|${LETTER}+)` : word(schema)
    const name = `(?:${word(other.name)}|${word(other.modelName ?? other.name)})`
    const pattern = `${lead}(?:${owner}\\s*\\.\\s*)?${name}(?!${LETTER}|["\`\\]]|\\s*[.(])`
    return new RegExp(pattern, 'i').test(text.join())
  }
}

function isView({ kind }: Definition): boolean {
  return kind === 'view' || kind === 'materialized view'
}

const READ = '\\b(?:from|join|straight_join|only|lateral|table)[\\s(]+'
/** SQLite reads `where x in a_view`. */
const LISTED = '(?:,|\\bin\\b)\\s*'
/** Of a name without quotes. */
const LETTER = '[\\w$\\u0080-\\uffff]'

/** In quotes of any dialect or without: `"notes "` is not `notes`. */
function word(name: string): string {
  const text = escaped(name)
  return `(?:"${escaped(name.replaceAll('"', '""'))}"|\`${escaped(name.replaceAll('`', '``'))}\`|\\[${text}\\]|${text})`
}

function escaped(text: string): string {
  return text.replace(/[$()*+.?[\\\]^{|}]/g, '\\$&')
}
