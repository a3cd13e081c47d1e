import { LruMap } from '../../../driver/lru-map.ts'
import { LOOK, type SentStatement } from '../driver.ts'
import type { LibsqlStatement, ResultSet } from '../drizzle-client.ts'
import { isSqlError } from '../errors.ts'
import type { RewritePlan, UnknownColumns } from './result.ts'
import { formOf } from './rewrite.ts'

/**
 * libSQL's native driver aborts the whole process when it reads a TEXT value that is not valid UTF-8, and cuts one at
 * its first NUL. SQLite checks neither, so a writer of a column can do that to its readers. Hence no TEXT
 * value is ever handed to the driver: reading statements are rewritten so that their columns arrive as something else,
 * and what they held is restored here exactly, with U+FFFD for what is no UTF-8.
 *
 * Statements that read tables have their rows packed: all columns in one JSON array, each value behind the name of its
 * type, all of it as a blob. That is also twice as fast as reading the columns one by one, for the driver's cost is per
 * column. What JSON cannot carry exactly (REAL values, BLOBs in columns not declared so) is found out when it comes: then
 * the statement is run again with each column guarded by itself, and from then on always.
 *
 * The names of tables and columns are not guarded: those who may change the schema are trusted.
 */
export class SafeText {
  readonly #guards: boolean
  readonly #known: LruMap<string, RewritePlan>

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
  look(sql: string): RewritePlan | UnknownColumns {
    const known = this.#known.get(sql)
    if (known !== undefined) return known
    const form = formOf(sql, this.#guards)
    if ('describe' in form) return form
    return this.#keep(sql, form)
  }

  /** Finds out about the columns of a text, which `look` could not tell by itself; `describe` runs a statement. */
  async learn(
    unlearned: UnknownColumns,
    describe: (sql: string) => Promise<ResultSet>,
  ): Promise<RewritePlan> {
    const { columns, columnTypes } = await describe(unlearned.describe)
    const reading = unlearned.reading(columns.map((name, at) => ({ name, type: columnTypes[at] ?? '' })))
    return unlearned.isLasting ? this.#keep(unlearned.text, reading) : reading
  }

  /** A text's rows turned out not to fit in a pack. */
  unpack(sql: string, exact: RewritePlan): void {
    if (this.#known.has(sql)) this.#known.set(sql, exact)
  }

  /** The tables changed: what was learned of them may be wrong now. */
  forget(): void {
    this.#known.clear()
  }

  #keep(sql: string, reading: RewritePlan): RewritePlan {
    this.#known.set(sql, reading)
    return reading
  }
}

/** Who runs the statements. */
export interface SafeStatementsParts {
  readonly safeText: SafeText
  execute(statement: SentStatement, writes: boolean, askedAt?: number): Promise<ResultSet>
  /** The error to throw instead of another one. */
  translateError(error: unknown, statement: LibsqlStatement, writes: boolean): unknown
}

/** Runs statements the way `SafeText` says, and again where what it knew of their columns or rows was not so. */
export class SafeStatements {
  readonly #parts: SafeStatementsParts

  constructor(parts: SafeStatementsParts) {
    this.#parts = parts
  }

  /**
   * @param askedAt when it was wanted, if it waited for its connection
   * @throws StatementError at once, when the text holds several statements
   */
  run(statement: LibsqlStatement, askedAt?: number): Promise<unknown> {
    const form = this.#parts.safeText.look(statement.sql)
    return 'describe' in form
      ? this.#learnAndRun(statement, form)
      : this.#run(statement, form, false, askedAt)
  }

  /** @param isFresh what is known of the text was learned a moment ago: it cannot be stale */
  #run(
    statement: LibsqlStatement,
    reading: RewritePlan,
    isFresh = false,
    askedAt?: number,
  ): Promise<unknown> {
    const sent = { sql: reading.sql, args: statement.named ?? statement.params }
    return this.#parts.execute(sent, reading.writes, askedAt).then(
      (result) => this.#read(statement, reading, result, isFresh),
      (error: unknown) => this.#failed(statement, reading, error, isFresh),
    )
  }

  #read(statement: LibsqlStatement, reading: RewritePlan, result: ResultSet, isFresh: boolean): unknown {
    const { safeText } = this.#parts
    if (reading.isDdl) safeText.forget()
    const fit = reading.read(result)
    if (fit === 'exact' || reading.exact === undefined) return result
    safeText.unpack(statement.sql, reading.exact)
    return fit === 'large' ? result : this.#run(statement, reading.exact, isFresh)
  }

  /** A statement whose columns were learned before the tables changed is learned and run once more. */
  #failed(
    statement: LibsqlStatement,
    reading: RewritePlan,
    error: unknown,
    isFresh: boolean,
  ): Promise<unknown> {
    const { safeText, translateError } = this.#parts
    if (reading.isLearned && !isFresh && isSqlError(error)) {
      safeText.forget()
      const unlearned = safeText.look(statement.sql)
      if ('describe' in unlearned) return this.#learnAndRun(statement, unlearned)
    }
    throw translateError(error, statement, reading.writes)
  }

  async #learnAndRun(statement: LibsqlStatement, unlearned: UnknownColumns): Promise<unknown> {
    const { safeText, translateError } = this.#parts
    let reading: RewritePlan
    try {
      reading = await safeText.learn(unlearned, (sql) => this.#describe(sql, statement.sql))
    } catch (error) {
      throw translateError(error, statement, false)
    }
    return this.#run(statement, reading, true)
  }

  async #describe(sql: string, original: string): Promise<ResultSet> {
    const { execute } = this.#parts
    // The driver asks for a statement's columns before SQLite sees that others changed the tables: make it look.
    await execute(LOOK, false)
    try {
      return await execute({ sql, args: [] }, false)
    } catch (error) {
      // SQLite speaks of the text it was given; ask it about the one that was meant, without running it.
      if (isSqlError(error)) await execute({ sql: `explain ${original}`, args: [] }, false)
      throw error
    }
  }
}
