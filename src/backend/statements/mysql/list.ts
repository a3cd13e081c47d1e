import type { Statement } from '../../../statement.ts'
import { leastText } from '../../clock.ts'
import type { WallClock } from '../../wall-clock.ts'
import { isDoneOnly, type ListRequest, READY } from '../statements.ts'
import { bytesOf } from './text.ts'

const LISTED = ['name', 'worker', 'retries', 'queue']

/** A page of tasks. The limit stands in the text, since not every server takes a parameter there. */
export function listStatement(
  table: string,
  there: ReadonlyMap<string, unknown>,
  clock: WallClock,
  request: ListRequest,
): Statement {
  const { orderBy, descending, limit, after, states, name, worker, since, until } = request
  const params: unknown[] = []
  const conditions = isDoneOnly(request)
    ? ['t.date_done is not null', `${bytesOf('t.status')} in ${READY}`]
    : []
  const where = (condition: string, ...values: unknown[]) => {
    if (values[0] === null) return
    conditions.push(condition)
    params.push(...values)
  }
  if (states !== null) {
    const places = ['null', ...states.map(() => bytesOf('?'))].join(', ')
    const orNone = states.includes('PENDING') ? ' or t.status is null' : ''
    conditions.push(`(${bytesOf('t.status')} in (${places})${orNone})`)
    params.push(...states)
  }
  where(`${bytesOf('t.name')} = ${bytesOf('?')}`, name)
  where(`${bytesOf('t.worker')} = ${bytesOf('?')}`, worker)
  where('t.date_done >= ?', since === null ? null : leastText(clock, since))
  where('t.date_done < ?', until === null ? null : leastText(clock, until))
  const than = descending ? '<' : '>'
  const date = after?.dateDone ?? null
  if (orderBy === 'id') where(`t.id ${than} ?`, after?.id ?? null)
  // The first half is what its index is used for.
  else where(`t.date_done ${than}= ? and (t.date_done ${than} ? or t.id ${than} ?)`, date, date, after?.id)

  const direction = descending ? 'desc' : 'asc'
  const order = orderBy === 'id' ? `t.id ${direction}` : `t.date_done ${direction}, t.id ${direction}`
  const listed = ['id', 'task_id', 'status', 'date_done', ...LISTED.filter((column) => there.has(column))]
  const sql =
    `select ${listed.map((column) => `t.${column}`).join(', ')} from ${table} t` +
    `${conditions.length > 0 ? ` where ${conditions.join(' and ')}` : ''} order by ${order} limit ${limit}`
  return { sql, params, asArrays: false }
}
