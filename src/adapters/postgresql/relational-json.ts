/**
 * Drizzle 0.45 has PostgreSQL put what a relational query has `with` into JSON, and reads it by the types of the columns:
 * they would have all digits of a bigint or numeric, if these came as texts. So the long numbers of columns, and nothing
 * else in that JSON, become texts before it is parsed. (Drizzle 1.0 asks for texts itself.)
 */

/** Rows as JSON. */
export interface JsonRows {
  /** An array of rows, not a single one. */
  readonly isMany: boolean
  /** What stands at each place of a row: a column of a table, rows again, or whatever an expression gives. */
  readonly values: readonly ('column' | 'expression' | JsonRows)[]
}

/** By the position of the column in the result. */
export type RelationalColumns = ReadonlyMap<number, JsonRows>

/** The columns of a relational query that are rows as JSON; `null` for every other statement. */
export function relationalColumnsOf(sql: string): RelationalColumns | null {
  if (!sql.includes('left join lateral (select ') || !sql.includes('json_build_array(')) return null
  const select = readSelect(sql)
  if (select === null) return null
  const joined = joinedIn(select.rest)
  const columns = new Map<number, JsonRows>()
  for (const [at, item] of select.items.entries()) {
    const rows = joined.get(/^(".*")\."data" as "/s.exec(item)?.[1] ?? '')
    if (rows !== undefined) columns.set(at, rows)
  }
  return columns.size === 0 ? null : columns
}

interface Select {
  readonly items: readonly string[]
  /** All that comes from FROM on. */
  readonly rest: string
}

function readSelect(sql: string): Select | null {
  if (!sql.startsWith('select ')) return null
  const list = sql.slice('select '.length)
  const from = placesOf(list, ' from ')[0]
  return from === undefined ? null : { items: itemsOf(list.slice(0, from)), rest: list.slice(from) }
}

/** What is joined, by its quoted alias. */
function joinedIn(rest: string): Map<string, JsonRows> {
  const joined = new Map<string, JsonRows>()
  for (const place of placesOf(rest, JOIN)) {
    const inner = insideOf(rest, place + JOIN.length - 1)
    const alias = /^ ("(?:[^"]|"")*") on true/.exec(rest.slice(place + JOIN.length + inner.length + 1))?.[1]
    const rows = rowsIn(inner)
    if (alias !== undefined && rows !== null) joined.set(alias, rows)
  }
  return joined
}

const JOIN = 'left join lateral ('
const ONE = 'json_build_array('
const MANY = `coalesce(json_agg(${ONE}`

function rowsIn(sql: string): JsonRows | null {
  const select = readSelect(sql)
  const [item = ''] = select?.items ?? []
  const isMany = item.startsWith(MANY)
  if (select === null || select.items.length !== 1 || !item.endsWith(' as "data"')) return null
  if (!isMany && !item.startsWith(ONE)) return null
  const joined = joinedIn(select.rest)
  const values = itemsOf(insideOf(item, (isMany ? MANY : ONE).length - 1)).map((value) => {
    const column = /^("(?:[^"]|"")*")\."(?:[^"]|"")*"$/.exec(value)
    if (column === null) return 'expression'
    return (value.endsWith('."data"') && joined.get(column[1] ?? '')) || 'column'
  })
  return { isMany, values }
}

function itemsOf(list: string): string[] {
  const commas = placesOf(list, ', ')
  return [0, ...commas.map((comma) => comma + 2)].map((start, at) => list.slice(start, commas[at]))
}

/** What stands between the parenthesis at this place and its partner. */
function insideOf(sql: string, open: number): string {
  const inside = sql.slice(open + 1)
  return inside.slice(0, placesOf(inside, ')')[0])
}

const QUOTED = /"(?:[^"]|"")*"|'(?:[^']|'')*'/y

/** Where a text stands in a statement, outside of quotes and of parentheses. */
function placesOf(sql: string, wanted: string): number[] {
  const places: number[] = []
  let depth = 0
  for (let at = 0; at < sql.length; at++) {
    if (depth === 0 && sql.startsWith(wanted, at)) places.push(at)
    const character = sql[at]
    if (character === '(') depth++
    else if (character === ')') depth--
    else if (character === '"' || character === "'") {
      QUOTED.lastIndex = at
      if (QUOTED.test(sql)) at = QUOTED.lastIndex - 1
    }
    if (depth < 0) break
  }
  return places
}

/** The type of such columns, as of any that is `json`. */
export const JSON_OID = 114

/** What reads the JSON of a column. */
export function jsonReader(columns: RelationalColumns, at: number): (text: string) => unknown {
  const rows = columns.get(at)
  return (text) => (rows === undefined ? JSON.parse(text) : parseRows(text, rows))
}

/** Reads the JSON of a relational query in rows where it is text. */
export function readJsonColumns(
  { rows, fields }: { readonly rows: readonly unknown[]; readonly fields: readonly { dataTypeID: number }[] },
  relational: RelationalColumns,
): void {
  for (const [at, { dataTypeID }] of fields.entries()) {
    if (dataTypeID !== JSON_OID) continue
    const read = jsonReader(relational, at)
    for (const row of rows) if (Array.isArray(row) && row[at] !== null) row[at] = read(String(row[at]))
  }
}

/** Reads the JSON of rows, with the long numbers of columns as texts. */
export function parseRows(text: string, rows: JsonRows): unknown {
  return JSON.parse(LONG_NUMBER.test(text) ? withLongNumbersAsTexts(text, rows) : text)
}

/** Shorter ones a number of JavaScript has exactly. */
const LONG_NUMBER = /[\d.]{16}/

const NUMBER = /-?\d[\d.eE+-]*/y
const STRING = /"[^"\\]*(?:\\.[^"\\]*)*"/sy

/** Whether JavaScript's number for it is another one, also where that is printed by the same digits. */
function isInexact(number: string): boolean {
  const read = Number(number)
  return number.length >= 16 && (Math.abs(read) > Number.MAX_SAFE_INTEGER || String(read) !== number)
}

function withLongNumbersAsTexts(json: string, shape: JsonRows): string {
  let at = 0
  let written = ''
  let copied = 0
  readRows(shape)
  return written + json.slice(copied)

  function readRows({ isMany, values }: JsonRows): void {
    if (isMany) readArray(() => readRow(values))
    else readRow(values)
  }

  function readRow(values: JsonRows['values']): void {
    readArray((index) => {
      const value = values[index]
      if (typeof value === 'object') readRows(value)
      else if (value === 'column') readColumn()
      else skipValue()
    })
  }

  function readColumn(): void {
    const number = match(NUMBER)
    if (number === null) skipValue()
    else if (isInexact(number)) {
      const start = at - number.length
      written += `${json.slice(copied, start)}"${number}"`
      copied = at
    }
  }

  /** Where there is none, which a relation without a row is, it skips what is there. */
  function readArray(readItem: (index: number) => void): void {
    skipSpace()
    if (json[at] !== '[') {
      skipValue()
      return
    }
    at++
    for (let index = 0; ; index++) {
      skipSpace()
      if (json[at] === ']' || at >= json.length) break
      readItem(index)
      skipSpace()
      if (json[at] === ',') at++
    }
    at++
  }

  function skipValue(): void {
    let depth = 0
    do {
      skipSpace()
      const character = json[at]
      if (character === '"') {
        if (match(STRING) === null) at = json.length
      } else {
        if (character === '[' || character === '{') depth++
        if (character === ']' || character === '}') depth--
        at++
        if (depth === 0 && character !== ']' && character !== '}') match(WORD)
      }
    } while (depth > 0 && at < json.length)
  }

  function skipSpace(): void {
    match(SPACE)
  }

  function match(pattern: RegExp): string | null {
    pattern.lastIndex = at
    const found = pattern.exec(json)?.[0] ?? null
    if (found !== null) at += found.length
    return found
  }
}

const SPACE = /\s*/y
/** The rest of a number, `true`, `false` or `null`. */
const WORD = /[\w.+-]*/y
