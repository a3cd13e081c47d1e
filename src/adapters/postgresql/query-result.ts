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
