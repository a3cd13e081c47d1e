/** `SERVER_STATUS_IN_TRANS` of the protocol. */
const IN_TRANSACTION = 1

/**
 * Whether an answer leaves a transaction open, by the server's own word; `null` when it does not say. Answers with rows
 * do not, except those of a CALL, whose last part is the end of the procedure.
 */
export function isInTransaction(answer: unknown): boolean | null {
  const end: unknown = Array.isArray(answer) ? answer.at(-1) : answer
  if (typeof end !== 'object' || end === null || Array.isArray(end) || !isHeader(end)) return null
  return (end.serverStatus & IN_TRANSACTION) !== 0
}

/** mysql2's `ResultSetHeader`; a row may have columns of any name, but not that class. */
function isHeader(end: object): end is { serverStatus: number } {
  return end.constructor?.name === 'ResultSetHeader' && 'serverStatus' in end
}
