import type { Named, Parsed } from './prepared.ts'
import type { RelationalColumns } from './relational-json.ts'
import type { BoundValue, Typed } from './values.ts'

/** What a driver does for a connection: a client of it, on the connection's one socket. */
export interface Client {
  readonly typed: Typed
  /** Sends a statement behind those that were sent before; answers come in the same order. */
  send(query: ClientQuery): Sent
  /**
   * Has the server forget what it has parsed, and the driver as well.
   * @param isReplaced the driver knows another one by that signature
   */
  deallocate(named: Named, isReplaced: boolean): Sent
  /** Sends Terminate, and closes the socket. */
  end(): void
  /** The socket is gone. */
  drop(): void
}

/** A statement as a driver is to send it. */
export interface ClientQuery {
  readonly sql: string
  /** Without parameters the text may be several statements. */
  readonly bound: readonly BoundValue[]
  /** Rows as arrays of values instead of objects. */
  readonly asArrays: boolean
  /** The columns that are rows as JSON, where they are to be read by `jsonReader`. */
  readonly relational: RelationalColumns | null
  /** What it is to run from; it is to be parsed by a name where that has none yet, and unnamed for `null`. */
  readonly parsed: Parsed | null
  /** The answer to a BEGIN comes before its own. */
  readonly carriesBegin: boolean
}

/** A statement that is on its way. */
export interface Sent {
  /** Rejects with what the server or the driver has against it, once the server is ready for the next one. */
  readonly answer: Promise<QueryResult>
  /** What the server has parsed of it, known with the answer; `null` if it could not parse it, or was not told a name. */
  readonly named: Named | null
}

/**
 * The rows of one statement, and beside them what the server says it was; of a text of several statements a list of such
 * results, without a command of its own.
 */
export interface QueryResult extends Array<unknown> {
  readonly command?: string | null | undefined
}

/** By the server's own word; of several statements, for any of them. */
export function controlsTransaction(result: QueryResult): boolean {
  const { command } = result
  if (command !== undefined) return CONTROLS.has(command)
  return result.some((each) => isResult(each) && CONTROLS.has(each.command))
}

const CONTROLS: ReadonlySet<unknown> = new Set([
  'BEGIN',
  'START TRANSACTION',
  'COMMIT',
  'ROLLBACK',
  'PREPARE TRANSACTION',
])

/** Whether it is the result of a statement, and no row. */
export function isResult(value: unknown): value is QueryResult {
  return Array.isArray(value) && 'command' in value
}
