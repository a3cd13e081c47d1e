import type { DrizzleLogger } from '../driver/types.ts'
import { aDeadline, aLogger, aSignal, type Checks, checkOptions } from '../options/check.ts'
import { STREAM_CHECKS, type StreamOptions, type StreamSource, streamRows } from './stream.ts'

/** What single statements may have for themselves: `session.with()` and `engine.with()`. */
export interface StatementOptions {
  /**
   * Seconds the statement may take, above 0; a longer time than that of the session or engine as well. One that takes longer
   * rejects with a `StatementTimeoutError`, and its connection is thrown away.
   * @default that of the session or engine
   */
  statementTimeout?: number | undefined
  /**
   * Ends the wait for a connection or a turn, or the running statement by throwing its connection away; either rejects with
   * an `AbortedError`. The signal of a session counts beside it.
   * @default none
   */
  signal?: AbortSignal | undefined
  /** Drizzle's logger for these statements; it sees the bound parameters. @default that of the session or engine */
  logger?: DrizzleLogger | undefined
}

/** What each option of `with()` must be. */
export const STATEMENT_CHECKS: Checks<StatementOptions> = {
  statementTimeout: aDeadline,
  signal: aSignal,
  logger: aLogger,
}

/** A handle whose statements have options of their own. */
export interface Limited<Db> {
  readonly db: Db
  /** As `stream()` of the session or engine; the deadline is that of each batch. */
  stream<Row>(
    query: PromiseLike<readonly Row[]>,
    options?: StreamOptions,
  ): AsyncGenerator<Row, void, undefined>
}

/** Its handle is made when it is first asked for. */
export function limitedHandle<Db>(source: StreamSource & { db(): Db }): Limited<Db> {
  let db: Db | undefined
  return {
    get db() {
      db ??= source.db()
      return db
    },
    stream: (query, options = {}) => streamOf(source, query, options),
  }
}

/** @throws OptionError */
export function streamOf<Row>(
  source: StreamSource,
  query: PromiseLike<readonly Row[]>,
  options: StreamOptions,
): AsyncGenerator<Row, void, undefined> {
  checkOptions('stream', options, STREAM_CHECKS)
  return streamRows(query, options, source)
}
