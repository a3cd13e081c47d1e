import { LruMap } from '../../lru-map.ts'
import type { ResultSet } from './client.ts'
import { formOf } from './safe-text/form.ts'
import type { Reading, Unlearned } from './safe-text/reading.ts'

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
  readonly #guards: boolean
  readonly #known: LruMap<string, Reading>

  /**
   * @param size how many texts are kept, those that were run last
   * @param guards whether texts need guarding at all: those of remote servers do not
   */
  constructor(size: number, guards: boolean) {
    this.#known = new LruMap(size)
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
    this.#known.set(sql, reading)
    return reading
  }
}
