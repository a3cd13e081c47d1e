import type { LibsqlStatement, ResultSet } from './client.ts'
import { LOOK, type SentStatement } from './driver.ts'
import { isSqlError } from './driver-error.ts'
import type { Reading, Unlearned } from './safe-text/reading.ts'
import type { SafeText } from './safe-text.ts'

/** Who runs the statements. */
export interface SafeStatementsParts {
  readonly safeText: SafeText
  execute(statement: SentStatement, writes: boolean): Promise<ResultSet>
  /** The error to throw instead of another one. */
  judged(error: unknown, statement: LibsqlStatement): unknown
}

/** Runs statements the way `SafeText` says, and again where what it knew of their columns or rows was not so. */
export class SafeStatements {
  readonly #parts: SafeStatementsParts

  constructor(parts: SafeStatementsParts) {
    this.#parts = parts
  }

  /** @throws StatementError at once, when the text holds several statements */
  run(statement: LibsqlStatement): Promise<unknown> {
    const form = this.#parts.safeText.look(statement.sql)
    return 'describe' in form ? this.#learnAndRun(statement, form) : this.#run(statement, form)
  }

  /** @param isFresh what is known of the text was learned a moment ago: it cannot be stale */
  #run(statement: LibsqlStatement, reading: Reading, isFresh = false): Promise<unknown> {
    const sent = { sql: reading.sql, args: statement.named ?? statement.params }
    return this.#parts.execute(sent, reading.writes).then(
      (result) => this.#read(statement, reading, result, isFresh),
      (error: unknown) => this.#failed(statement, reading, error, isFresh),
    )
  }

  #read(statement: LibsqlStatement, reading: Reading, result: ResultSet, isFresh: boolean): unknown {
    const { safeText } = this.#parts
    if (reading.isDdl) safeText.forget()
    const fit = reading.read(result)
    if (fit === 'exact' || reading.exact === undefined) return result
    safeText.unpack(statement.sql, reading.exact)
    return fit === 'large' ? result : this.#run(statement, reading.exact, isFresh)
  }

  /** A statement whose columns were learned before the tables changed is learned and run once more. */
  #failed(statement: LibsqlStatement, reading: Reading, error: unknown, isFresh: boolean): Promise<unknown> {
    const { safeText, judged } = this.#parts
    if (reading.isLearned && !isFresh && isSqlError(error)) {
      safeText.forget()
      const unlearned = safeText.look(statement.sql)
      if ('describe' in unlearned) return this.#learnAndRun(statement, unlearned)
    }
    throw judged(error, statement)
  }

  async #learnAndRun(statement: LibsqlStatement, unlearned: Unlearned): Promise<unknown> {
    const { safeText, judged } = this.#parts
    let reading: Reading
    try {
      reading = await safeText.learn(unlearned, (sql) => this.#describe(sql, statement.sql))
    } catch (error) {
      throw judged(error, statement)
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
