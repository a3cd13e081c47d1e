import { StatementError } from '../../errors.ts'
import type { ResultSet } from './client.ts'
import { type Token, tokensOf } from './sql-tokens.ts'

/**
 * libSQL's native driver aborts the whole process when it reads a TEXT value that is not valid UTF-8, and cuts one at
 * its first NUL. SQLite checks neither, so whoever may write to a column can do that to whoever reads it. Hence no TEXT
 * value is ever handed to the driver: reading statements are rewritten so that their columns arrive as something else,
 * and what they held is restored here exactly, with U+FFFD for what is no UTF-8.
 *
 * Statements that read tables have their rows packed: all columns in one JSON array, each value behind the name of its
 * type, all of it as a blob. That is also twice as fast as reading the columns one by one, for the driver's cost is per
 * column. What JSON cannot carry exactly (REAL values, BLOBs in columns not declared so) is found out when it comes: then
 * the statement is run again with each column guarded by itself, and from then on always.
 *
 * The names of tables and columns are not guarded: whoever may change the schema is trusted.
 */
export class SafeText {
  readonly #size: number
  readonly #guards: boolean
  readonly #known = new Map<string, Reading>()

  /**
   * @param size how many texts are kept; what is beyond is read anew each time
   * @param guards whether texts need guarding at all: those of remote servers do not
   */
  constructor(size: number, guards: boolean) {
    this.#size = size
    this.#guards = guards
  }

  /**
   * How a text is run.
   * @throws StatementError when it holds several statements, of which the driver would run only the first
   */
  look(sql: string): Reading | Unlearned {
    const known = this.#known.get(sql)
    if (known !== undefined) return known
    const form = formOf(sql, this.#guards)
    if ('describe' in form) return form
    return this.#keep(sql, form)
  }

  /** Finds out about the columns of a text, which `look` could not tell by itself; `describe` runs a statement. */
  async learn(unlearned: Unlearned, describe: (sql: string) => Promise<ResultSet>): Promise<Reading> {
    const { columns, columnTypes } = await describe(unlearned.describe)
    const reading = unlearned.reading(columns.map((name, at) => ({ name, type: columnTypes[at] ?? '' })))
    return unlearned.isLasting ? this.#keep(unlearned.text, reading) : reading
  }

  /** A text's rows turned out not to fit in a pack. */
  unpack(sql: string, exact: Reading): void {
    if (this.#known.has(sql)) this.#known.set(sql, exact)
  }

  /** The tables changed: what was learned of them may be wrong now. */
  forget(): void {
    this.#known.clear()
  }

  #keep(sql: string, reading: Reading): Reading {
    if (this.#known.size < this.#size) this.#known.set(sql, reading)
    return reading
  }
}

/** How a text is run, and its result read. */
export interface Reading {
  /** What the driver is given instead. */
  readonly sql: string
  /** It may write: it has to wait for its turn. */
  readonly writes: boolean
  /** It may change tables. */
  readonly isDdl: boolean
  /** It was made from what the tables looked like once. */
  readonly isLearned: boolean
  /** Turns the driver's result, in place, into what the text asked for. */
  read(result: ResultSet): Fit
  /** The same without packing. */
  readonly exact?: Reading
}

/** Whether a result could be read: `large` could, but would be cheaper without packing; `inexact` could not. */
type Fit = 'exact' | 'large' | 'inexact'

/** A text about whose columns the database must be asked first. */
export interface Unlearned {
  readonly text: string
  /** Runs without touching a row; its result has the columns. */
  readonly describe: string
  /** The columns cannot change behind our back. */
  readonly isLasting: boolean
  readonly writes: boolean
  reading(columns: readonly Column[]): Reading
}

interface Column {
  readonly name: string
  readonly type: string
}

/** How a column of its own arrives: as it is; with texts in hex; with texts as blobs and blobs in hex. */
type Guard = 'plain' | 'hex' | 'exact'

const GUARDS: Readonly<Record<Guard, (column: string) => string>> = {
  plain: (column) => column,
  hex: (column) => `iif(typeof(${column})='text',hex(${column}),${column})`,
  exact: (column) =>
    `case typeof(${column}) when 'text' then cast(${column} as blob) when 'blob' then hex(${column}) else ${column} end`,
}

/** Texts are what others are declared for; of blobs and numbers, texts are the exception. */
function guardOf({ type }: Column): Guard {
  return type === '' || isTextType(type) ? 'exact' : 'hex'
}

/** How a column is packed: `tagged` behind its type; `taggedHex` the same in hex, for blobs; or not at all. */
type Packing = 'tagged' | 'taggedHex' | 'own'

const PACKINGS: Readonly<Record<'tagged' | 'taggedHex', (column: string) => string>> = {
  tagged: (column) => `typeof(${column})||${column}`,
  taggedHex: (column) => `typeof(${column})||hex(${column})`,
}

function packingOf({ type }: Column): Packing {
  if (/INT/i.test(type) || isTextType(type)) return 'tagged'
  if (/BLOB/i.test(type)) return 'taggedHex'
  return /REAL|FLOA|DOUB/i.test(type) ? 'own' : 'tagged'
}

/** SQLite's rules for the affinity of a column: INT comes first. */
function isTextType(type: string): boolean {
  return /CHAR|CLOB|TEXT/i.test(type) && !/INT/i.test(type)
}

const READERS = new Set(['select', 'values', 'explain', 'pragma'])
const WRITERS = new Set(['insert', 'replace', 'update', 'delete'])
const DDL = new Set(['create', 'alter', 'drop'])

function formOf(sql: string, guards: boolean): Reading | Unlearned {
  const tokens = tokensOf(sql)
  // SQLite will say what is wrong with it; nothing of it runs before that.
  if (tokens === null) return plain(sql, true)
  while (tokens[0]?.text === ';') tokens.shift()
  while (tokens.at(-1)?.text === ';') tokens.pop()
  const first = tokens[0]
  const last = tokens.at(-1)
  if (first === undefined || last === undefined) return plain(sql, false)

  const verb = verbOf(tokens)
  if (verb !== 'create' || !tokens.some(isWord('trigger'))) refuseSeveral(tokens)
  if (!isBalanced(tokens)) return plain(sql, true)
  if (!guards) return plain(sql, !READERS.has(verb), DDL.has(verb))
  const text: Text = { sql, tokens, body: sql.slice(first.start, last.end), start: first.start }
  if (verb === 'select' || verb === 'values') return selectForm(text)
  if (WRITERS.has(verb)) return writeForm(text, verb)
  return plain(sql, !READERS.has(verb), DDL.has(verb))
}

interface Text {
  readonly sql: string
  readonly tokens: readonly Token[]
  /** Without what stands before the first and after the last token: comments, semicolons. */
  readonly body: string
  readonly start: number
}

/** The word that says what a statement does; behind `with`, that of its main part. */
function verbOf(tokens: readonly Token[]): string {
  const first = tokens[0]?.word ?? ''
  if (first !== 'with') return first
  const main = tokens.find(({ word, depth }) => depth === 0 && (READERS.has(word) || WRITERS.has(word)))
  return main?.word ?? ''
}

function refuseSeveral(tokens: readonly Token[]): void {
  if (!tokens.some(({ text }) => text === ';')) return
  throw new StatementError(
    'INVALID_STATEMENT',
    'Cannot run several statements at once: libSQL would run the first and ignore the others. ' +
      'Run them one by one, or with batch() or executeMultiple() of db.$client.',
  )
}

function isBalanced(tokens: readonly Token[]): boolean {
  const parentheses = tokens.filter(({ text }) => text === '(' || text === ')')
  const opened = parentheses.filter(({ text }) => text === '(').length
  return opened * 2 === parentheses.length && tokens.every(({ depth }) => depth >= 0)
}

function isWord(word: string): (token: Token) => boolean {
  return (token) => token.word === word
}

/** A statement that brings no text, or none that others wrote. */
function plain(sql: string, writes: boolean, isDdl = false): Reading {
  const read = readerOf(null, [])
  return { sql, writes, isDdl, isLearned: false, read }
}

function selectForm(text: Text): Reading | Unlearned {
  const list = plainList(text)
  if (list?.every(({ isSafe }) => isSafe)) return plain(text.sql, false)
  const describe = `select * from (${text.body}) limit 0`
  const base = { text: text.sql, describe, writes: false }
  if (list !== null)
    return { ...base, isLasting: true, reading: (columns) => listReading(text, list, columns) }
  // With a star in the list the columns are those of the moment.
  return { ...base, isLasting: !hasStar(text.tokens), reading: (columns) => framedReading(text, columns) }
}

/** An item of a list of columns, as it stands in the text. */
interface Item {
  readonly start: number
  readonly end: number
  /** It is a number or a count: nothing that needs a guard. */
  readonly isSafe: boolean
}

/**
 * The items of a `select` whose columns can be guarded where they stand: plain columns and what is surely no text,
 * without other names. `null` where that might change what is ordered, grouped, or taken for the same.
 */
function plainList({ tokens }: Text): Item[] | null {
  if (tokens[0]?.word !== 'select') return null
  const outer = tokens.filter(({ depth }) => depth === 0)
  if (outer.some(({ word }) => COMPOUND.has(word))) return null
  const ordering = outer.slice(outer.findIndex(({ word }) => word === 'order' || word === 'group') + 1)
  if (ordering.length < outer.length && ordering.some(isPosition)) return null

  const from = tokens.findIndex(({ word, depth }) => depth === 0 && word === 'from')
  const items = splitItems(tokens.slice(1, from === -1 ? undefined : from))
  const list: Item[] = []
  for (const item of items) {
    const [start, end] = [item[0]?.start, item.at(-1)?.end]
    const isSafe = isNeverText(item)
    if (start === undefined || end === undefined || !(isSafe || isColumn(item))) return null
    list.push({ start, end, isSafe })
  }
  return list
}

const COMPOUND = new Set(['distinct', 'union', 'intersect', 'except', 'with'])

/** `order by 1`: the first column, whatever it is then. */
function isPosition(token: Token, at: number, tokens: readonly Token[]): boolean {
  const before = tokens[at - 1]
  return /^\d/.test(token.text) && (before?.word === 'by' || before?.text === ',')
}

function splitItems(tokens: readonly Token[]): Token[][] {
  const items: Token[][] = [[]]
  for (const token of tokens) {
    if (token.text === ',' && token.depth === 0) items.push([])
    else items.at(-1)?.push(token)
  }
  return items
}

/** `name`, `table.name` or `schema.table.name`, without another name for it. */
function isColumn(item: readonly Token[]): boolean {
  return (
    item.length % 2 === 1 &&
    item.length <= 5 &&
    item.every((token, at) => (at % 2 === 0 ? token.isName : token.text === '.'))
  )
}

const NUMERIC = new Set(['count', 'sum', 'avg', 'total', 'length'])

/** A whole number, or one call of a function that gives numbers only. */
function isNeverText(item: readonly Token[]): boolean {
  const [first, second] = item
  if (item.length === 1) return /^\d+$/.test(first?.text ?? '')
  if (first === undefined || second?.text !== '(' || !NUMERIC.has(first.word)) return false
  return item.findIndex((token, at) => at > 1 && token.text === ')' && token.depth === 0) === item.length - 1
}

function hasStar(tokens: readonly Token[]): boolean {
  return tokens.some(({ text }, at) => {
    const before = tokens[at - 1]
    return text === '*' && (before === undefined || /^[.,]$/.test(before.text) || STARRED.has(before.word))
  })
}

const STARRED = new Set(['select', 'distinct', 'all'])

/** The columns are guarded where they stand. */
function listReading({ sql }: Text, list: readonly Item[], columns: readonly Column[]): Reading {
  const names = list.map(({ start, end }) => sql.slice(start, end))
  const [before, after] = [sql.slice(0, list[0]?.start), sql.slice(list.at(-1)?.end)]
  return learned(names, columns, (items) => `${before}${items}${after}`)
}

/**
 * The statement stays as it is, in a frame that guards its columns. Where there are expressions among them the frame
 * must not be merged with it: they would be computed more than once.
 */
function framedReading({ body }: Text, columns: readonly Column[]): Reading {
  const names = columns.map((_, at) => `c${at}`)
  const materialized = columns.some(({ type }) => type === '') ? ' materialized' : ''
  return learned(
    names,
    columns,
    (items) => `with dc_(${names}) as${materialized} (${body}) select ${items} from dc_`,
  )
}

/** More would be too many arguments for a function. */
const MOST_PACKED = 100

function learned(
  names: readonly string[],
  columns: readonly Column[],
  select: (items: readonly string[]) => string,
): Reading {
  const base = { writes: false, isDdl: false, isLearned: true }
  const guards = columns.map(guardOf)
  const guarded = names.map((name, at) => GUARDS[guards[at] ?? 'exact'](name))
  const exact: Reading = { ...base, sql: select(guarded), read: readerOf(columns, guards) }
  const packings = columns.map(packingOf)
  if (columns.length > MOST_PACKED || packings.every((packing) => packing === 'own')) return exact

  const packed: string[] = []
  const own: string[] = []
  for (const [at, name] of names.entries()) {
    const packing = packings[at] ?? 'own'
    if (packing === 'own') own.push(guarded[at] ?? name)
    else packed.push(PACKINGS[packing](name))
  }
  const items = [`cast(json_array(${packed}) as blob)`, ...own]
  return { ...base, sql: select(items), read: unpackerOf(columns, packings, guards), exact }
}

/** Writes bring rows only by `returning`, whose items are guarded where they stand: there is no frame for a write. */
function writeForm(text: Text, verb: string): Reading | Unlearned {
  const { sql, tokens } = text
  const at = tokens.findLastIndex(({ word, depth }) => depth === 0 && word === 'returning')
  if (at === -1) return plain(sql, true)
  const items = splitItems(tokens.slice(at + 1)).map((item) => returned(sql, item))
  if (items.some((item) => item === null)) return plain(sql, true)
  const known = items.filter((item) => item !== null)
  if (known.every(({ name }) => name !== '*')) return returning(text, known)

  const table = targetOf(sql, tokens, verb)
  if (table === null) return plain(sql, true)
  return {
    text: sql,
    describe: `select * from ${table} limit 0`,
    isLasting: false,
    writes: true,
    reading: (columns) => returning(text, known, columns),
  }
}

/** An item of `returning`. */
interface Returned {
  readonly start: number
  readonly end: number
  /** What its column is called; `*` for all columns. */
  readonly name: string
  readonly guarded: string
}

function returned(sql: string, item: readonly Token[]): Returned | null {
  const [first, last] = [item[0], item.at(-1)]
  if (first === undefined || last === undefined) return null
  const place = { start: first.start, end: last.end }
  if (item.length === 1 && first.text === '*') return { ...place, name: '*', guarded: '*' }
  if (isColumn(item)) {
    return { ...place, name: nameOf(last), guarded: GUARDS.hex(sql.slice(first.start, last.end)) }
  }

  const before = item.at(-2)
  const hasAs = before?.word === 'as' && last.isName
  const isNamed = hasAs || (last.isName && before !== undefined && (before.isName || before.text === ')'))
  const inner = isNamed ? item.slice(0, hasAs ? -2 : -1) : item
  const end = inner.at(-1)?.end
  if (end === undefined) return null
  const expression = sql.slice(first.start, end)
  const guarded = isColumn(inner)
    ? GUARDS.hex(expression)
    : `(select ${GUARDS.hex('dc_')} from (select ${expression} as dc_))`
  return { ...place, name: isNamed ? nameOf(last) : expression, guarded }
}

function returning({ sql }: Text, items: readonly Returned[], columns: readonly Column[] = []): Reading {
  const all = columns.map(({ name }) => GUARDS.hex(`"${name.replaceAll('"', '""')}"`)).join(',')
  const names = items.flatMap(({ name }) => (name === '*' ? columns : [{ name, type: '' }]))
  return {
    sql: replaced(sql, items, (_, at) => {
      const item = items[at]
      return item === undefined || item.name === '*' ? all : item.guarded
    }),
    writes: true,
    isDdl: false,
    isLearned: false,
    read: readerOf(
      names,
      names.map(() => 'hex'),
    ),
  }
}

/** The table a write goes to, as it is written. */
function targetOf(sql: string, tokens: readonly Token[], verb: string): string | null {
  const at = tokens.findIndex(({ word, depth }) => depth === 0 && word === verb)
  let from = tokens.findIndex((token, index) => index > at && token.depth === 0 && isTargetWord(verb, token))
  if (verb === 'update') from = tokens[at + 1]?.word === 'or' ? at + 2 : at
  const first = tokens[from + 1]
  if (from === -1 || first === undefined) return null
  const last = tokens[from + 2]?.text === '.' ? tokens[from + 3] : first
  return sql.slice(first.start, last?.end)
}

function isTargetWord(verb: string, { word }: Token): boolean {
  return word === (verb === 'delete' ? 'from' : 'into')
}

/** The text with other text where items stand. */
function replaced(
  sql: string,
  items: readonly { readonly start: number; readonly end: number }[],
  by: (item: string, at: number) => string,
): string {
  let result = ''
  let done = 0
  for (const [at, { start, end }] of items.entries()) {
    result += sql.slice(done, start) + by(sql.slice(start, end), at)
    done = end
  }
  return result + sql.slice(done)
}

function nameOf({ text }: Token): string {
  const quote = text[0] === '[' ? ']' : text[0]
  if (!/^["`'[]/.test(text) || quote === undefined) return text
  return text.slice(1, -1).replaceAll(quote + quote, quote)
}

/** A row as libSQL's clients have it: its values by name and, not enumerable, by position. */
class Row {
  readonly #values: readonly unknown[]

  constructor(values: readonly unknown[]) {
    this.#values = values
  }

  /** The property for one position; on a prototype, since defining it on each row costs more than the query. */
  static at(position: number): PropertyDescriptor & ThisType<Row> {
    return {
      get() {
        return this.#values[position]
      },
    }
  }
}

/** Makes rows with these columns; of several with one name the first has it. */
function rowMaker(columns: readonly string[]): (values: readonly unknown[]) => object {
  const names: [string, number][] = []
  for (const [at, name] of columns.entries()) {
    const isTaken = name === 'length' || columns.indexOf(name) !== at || /^\d+$/.test(name)
    if (!isTaken) names.push([name, at])
  }

  class ShapedRow extends Row {
    [name: string]: unknown

    constructor(values: readonly unknown[]) {
      super(values)
      for (const [name, at] of names) {
        if (name === '__proto__') Object.defineProperty(this, name, { value: values[at], enumerable: true })
        else this[name] = values[at]
      }
    }
  }
  Object.defineProperty(ShapedRow.prototype, 'constructor', { value: Object })
  Object.defineProperty(ShapedRow.prototype, 'length', { value: columns.length })
  for (const at of columns.keys()) Object.defineProperty(ShapedRow.prototype, at, Row.at(at))
  return (values) => new ShapedRow(values)
}

/** Reads a driver's result column by column; without columns of its own it has those of the result. */
function readerOf(columns: readonly Column[] | null, guards: readonly Guard[]): (result: ResultSet) => Fit {
  const describe = columns === null ? null : describerOf(columns)
  let shape = { columns: [''], make: rowMaker(['']) }
  return (result) => {
    describe?.(result)
    const { rows } = result
    if (rows.length === 0) return 'exact'
    const { length: width } = result.columns
    if (!isSame(shape.columns, result.columns)) {
      shape = { columns: [...result.columns], make: rowMaker(result.columns) }
    }
    for (const [at, row] of rows.entries()) {
      const values = new Array(width)
      for (let column = 0; column < width; column++) {
        values[column] = decoded(Reflect.get(row, column), guards[column] ?? 'plain')
      }
      rows[at] = shape.make(values)
    }
    return 'exact'
  }
}

/** Reads rows whose columns are packed, and beside the pack those that are not. */
function unpackerOf(
  columns: readonly Column[],
  packings: readonly Packing[],
  guards: readonly Guard[],
): (result: ResultSet) => Fit {
  const describe = describerOf(columns)
  const make = rowMaker(originalNames(columns))
  return (result) => {
    const { rows } = result
    let isLarge = false
    for (const [at, row] of rows.entries()) {
      const pack: (string | null)[] = JSON.parse(Buffer.from(Reflect.get(row, 0)).toString())
      const values = new Array(columns.length)
      let packed = 0
      let own = 1
      for (const [column, packing] of packings.entries()) {
        if (packing === 'own') {
          values[column] = decoded(Reflect.get(row, own++), guards[column] ?? 'exact')
          continue
        }
        const text = pack[packed++] ?? null
        if (text === null) {
          values[column] = null
          continue
        }
        const value = packing === 'tagged' ? untagged(text) : untaggedHex(text)
        if (value === INEXACT) return 'inexact'
        if (text.length > LARGE && packing === 'taggedHex') isLarge = true
        values[column] = value
      }
      rows[at] = make(values)
    }
    describe(result)
    return isLarge ? 'large' : 'exact'
  }
}

/** Above so many digits a blob is better read by itself. */
const LARGE = 65_536
const INEXACT = Symbol('inexact')

/** `text…`, `integer…`, `real…`, `blob…`: the letters of SQLite's `typeof` and the value. */
function untagged(text: string): string | number | bigint | typeof INEXACT {
  switch (text[0]) {
    case 't':
      return text.slice(4)
    case 'i':
      return integer(text.slice(7))
    default:
      return INEXACT
  }
}

function untaggedHex(text: string): string | number | bigint | Buffer | null | typeof INEXACT {
  switch (text[0]) {
    case 'b':
      return Buffer.from(text.slice(4), 'hex')
    case 'n':
      return null
    case 't':
      return Buffer.from(text.slice(4), 'hex').toString()
    case 'i':
      return integer(Buffer.from(text.slice(7), 'hex').toString())
    default:
      return INEXACT
  }
}

/** A number where that is exact, else a bigint: a read need not fail because somebody stored 2^60. */
function integer(digits: string): number | bigint {
  const number = Number(digits)
  return Number.isSafeInteger(number) ? number : BigInt(digits)
}

/** Gives a result the columns its text asked for. */
function describerOf(columns: readonly Column[]): (result: ResultSet) => void {
  const names = originalNames(columns)
  const types = columns.map(({ type }) => type)
  return (result) => {
    result.columns = [...names]
    result.columnTypes = [...types]
  }
}

function isSame(some: readonly string[], others: readonly string[]): boolean {
  return some.length === others.length && some.every((each, at) => each === others[at])
}

function decoded(value: unknown, guard: Guard): unknown {
  switch (typeof value) {
    case 'bigint':
      return value >= Number.MIN_SAFE_INTEGER && value <= Number.MAX_SAFE_INTEGER ? Number(value) : value
    case 'string':
      if (guard === 'hex') return Buffer.from(value, 'hex').toString()
      return guard === 'exact' ? Buffer.from(value, 'hex') : value
    case 'object': {
      if (!(value instanceof ArrayBuffer)) return value
      const bytes = Buffer.from(value)
      return guard === 'exact' ? bytes.toString() : bytes
    }
    default:
      return value
  }
}

/** A frame numbers the names that occur more than once: `id`, `id:1`. */
function originalNames(columns: readonly Column[]): string[] {
  const names = columns.map(({ name }) => name)
  return names.map((name, at) => {
    const base = /^(.*):\d+$/s.exec(name)?.[1]
    const isNumbered =
      base !== undefined && names.slice(0, at).some((other) => other.toLowerCase() === base.toLowerCase())
    return isNumbered ? base : name
  })
}
