/** `SERVER_STATUS_IN_TRANS` of the protocol. */
const IN_TRANSACTION = 1

/**
 * Whether an answer leaves a transaction open, by the server's own word; `null` for rows, which do not say, except those
 * of a CALL, whose last part is the end of the procedure.
 * @param fields what mysql2 gives beside the answer: the columns of its rows, or of each of its parts
 */
export function isInTransaction(answer: unknown, fields: unknown): boolean | null {
  const end = endOf(answer, fields)
  if (end === null) return null
  if (typeof end === 'object' && 'serverStatus' in end && typeof end.serverStatus === 'number') {
    return (end.serverStatus & IN_TRANSACTION) !== 0
  }
  throw new Error('mysql2 answered without the status of the server')
}

/**
 * mysql2's `ResultSetHeader`, known by its place: a row may have columns of any name, and bundlers rename classes. Rows
 * come in a list, and what is no rows has no columns.
 */
function endOf(answer: unknown, fields: unknown): object | null {
  if (!Array.isArray(answer)) return Object(answer)
  const hasParts = Array.isArray(fields) && fields.length > 0 && fields.at(-1) === undefined
  return hasParts ? Object(answer.at(-1)) : null
}
