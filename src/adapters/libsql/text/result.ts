import type { ResultSet } from '../drizzle-client.ts'
import { type Column, decoded, type Guard, INEXACT, type Packing, unpacked } from './columns.ts'

/** Whether a result could be read: `large` could, but would be cheaper without packing; `inexact` could not. */
export type Exactness = 'exact' | 'large' | 'inexact'

/** Reads a driver's result column by column; without columns of its own it has those of the result. */
export function readerOf(
  columns: readonly Column[] | null,
  guards: readonly Guard[],
): (result: ResultSet) => Exactness {
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
    let at = 0
    for (const row of rows) {
      const values = new Array(width)
      for (let column = 0; column < width; column++) {
        values[column] = decoded(Reflect.get(row, column), guards[column] ?? 'plain')
      }
      rows[at++] = shape.make(values)
    }
    return 'exact'
  }
}

/** Reads rows whose columns are packed, and beside the pack those that are not. */
export function unpackerOf(
  columns: readonly Column[],
  packings: readonly Packing[],
  guards: readonly Guard[],
): (result: ResultSet) => Exactness {
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
        const value = unpacked(text, packing)
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

/** How a text is run, and its result read. */
export interface RewritePlan {
  /** What the driver is given instead. */
  readonly sql: string
  /** It may write: it has to wait for its turn. */
  readonly writes: boolean
  /** It may change tables. */
  readonly isDdl: boolean
  /** It was made from what the tables looked like once. */
  readonly isLearned: boolean
  /** Turns the driver's result, in place, into what the text asked for. */
  read(result: ResultSet): Exactness
  /** The same without packing. */
  readonly exact?: RewritePlan
}

/** A text about whose columns the database must be asked first. */
export interface UnknownColumns {
  readonly text: string
  /** Runs without touching a row; its result has the columns. */
  readonly describe: string
  /** The columns cannot change behind our back. */
  readonly isLasting: boolean
  readonly writes: boolean
  reading(columns: readonly Column[]): RewritePlan
}

/** A statement that brings no text, or none that others wrote. */
export function plain(sql: string, writes: boolean, isDdl = false): RewritePlan {
  const read = readerOf(null, [])
  return { sql, writes, isDdl, isLearned: false, read }
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
  const isNamed = (name: string, at: number) =>
    name !== 'length' && columns.indexOf(name) === at && !/^\d+$/.test(name)
  const named = columns.map((name, at) => (isNamed(name, at) ? name : null))

  class ShapedRow extends Row {
    [name: string]: unknown

    constructor(values: readonly unknown[]) {
      super(values)
      let at = 0
      // Counted by hand: entries() would make a pair for each value of each row.
      for (const name of named) {
        const value = values[at++]
        if (name === null) continue
        if (name === '__proto__') Object.defineProperty(this, name, { value, enumerable: true })
        else this[name] = value
      }
    }
  }
  Object.defineProperty(ShapedRow.prototype, 'constructor', { value: Object })
  Object.defineProperty(ShapedRow.prototype, 'length', { value: columns.length })
  for (const at of columns.keys()) Object.defineProperty(ShapedRow.prototype, at, Row.at(at))
  return (values) => new ShapedRow(values)
}
