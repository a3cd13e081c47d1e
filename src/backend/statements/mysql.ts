import type { Statement } from '../../driver/statement.ts'
import { StatementError } from '../../errors.ts'
import { leastText, UTC, type WallClock } from '../clock.ts'
import { LARGEST_LEAD, taskClocks } from '../date-done.ts'
import { BackendError } from '../errors.ts'
import {
  bytesOf,
  type Column,
  digestOf,
  insertText,
  isAmong,
  isExactly,
  NOW,
  nextOf,
  padded,
  qualified,
  type Store,
  secondsAhead,
  updateText,
  valueIn,
  writeRow,
  writeRows,
} from './mysql-write.ts'
import {
  type ColumnFacts,
  isDoneOnly,
  type ListRequest,
  READY,
  type Statements,
  type StatementsOptions,
  type TableFacts,
  type TableNames,
  type TaskWrite,
} from './types.ts'

/** Asks for the columns of both tables and how much they hold, for MariaDB's sequences, and for the longest packet. */
export function introspectMysql(names: TableNames): Statement {
  const { task, group, taskSchema = null, groupSchema = null } = names
  const columnsOf = (kind: string) =>
    `select '${kind}' as kind, column_name as name, character_octet_length as octets, character_set_name as charset ` +
    'from information_schema.columns where table_schema = coalesce(?, database()) and table_name = ?'
  const sequence = (kind: string, name: string) =>
    `select '${kind}', table_name, null, null from information_schema.tables ` +
    `where table_schema = coalesce(?, database()) and table_name = '${name}' and table_type = 'SEQUENCE'`
  return {
    sql: [
      columnsOf('task'),
      columnsOf('group'),
      sequence('task sequence', 'task_id_sequence'),
      sequence('group sequence', 'taskset_id_sequence'),
      "select 'packet', '', @@max_allowed_packet, null",
    ].join(' union all '),
    params: [taskSchema, task, groupSchema, group, taskSchema, groupSchema],
    asArrays: false,
  }
}

/**
 * One row is written by an update, and by an insert where there was none: `insert … on duplicate key update` alone draws
 * an id each time, and ids are 32 bits wide.
 *
 * Servers compare texts without regard to case and to blanks at the end, unless a column says otherwise, as that of the
 * ids in our tables does for case. Every statement finds its rows like that, by their index, and then looks at each byte.
 */
export function mysqlStatements(
  names: TableNames,
  facts: TableFacts,
  options: StatementsOptions,
): Statements {
  const task = qualified(names.taskSchema, names.task)
  const group = qualified(names.groupSchema, names.group)
  const { isFrozen } = options.dates
  const { clock, other } = taskClocks(options.dates)
  const store: Store = {
    table: task,
    clock,
    columns: ['task_id', ...options.written, 'traceback', 'result', 'status'],
    next: facts.hasTaskSequence ? nextOf(names.taskSchema, 'task_id_sequence') : null,
    preserves: options.preserveExtended,
  }
  const [idColumn, groupNext] = facts.hasGroupSequence
    ? ['id, ', `${nextOf(names.groupSchema, 'taskset_id_sequence')}, `]
    : ['', '']

  const limit = options.maxResultBytes
  const bounded = `case when octet_length(t.result) <= ${limit} then t.result end as result, octet_length(t.result) as size`
  const optional = options.read.map((column) => `, t.${column}`).join('')
  const select = `select t.task_id, t.status, ${bounded}, t.date_done, t.traceback${optional} from ${task} t`

  const texts = {
    update: updateText(store, false),
    updateGuarded: updateText(store, true),
    insert: insertText(store),
    find: `select task_id as id, status from ${task} where task_id = ?`,
    get: `${select} where ${isExactly('t.task_id')}`,
    state: `select t.status from ${task} t where ${isExactly('t.task_id')}`,
    forget: `delete from ${task} where ${isExactly('task_id')}`,
    updateGroup: `update ${group} set result = ?, date_done = ${NOW} where ${isExactly('taskset_id')}`,
    findGroup: `select taskset_id as id from ${group} where taskset_id = ?`,
    insertGroup: `insert into ${group} (${idColumn}result, date_done, taskset_id) values (${groupNext}?, ${NOW}, ?)`,
    group: `select ${bounded} from ${group} t where ${isExactly('t.taskset_id')}`,
    deleteGroup: `delete from ${group} where ${isExactly('taskset_id')}`,
    counts: `select min(status) as status, count(*) as tasks from ${task} group by ${bytesOf('status')}`,
    newestGroup: `select coalesce(max(id), 0) as id from ${group}`,
    // By the other clock, too, unless that would be a time to come.
    cleanupTask:
      `delete from ${task} where date_done < ${NOW} and (date_done < ${NOW} or date_done > ${NOW})` +
      (isFrozen ? ` and ${bytesOf('status')} in ${READY}` : ''),
    cleanupGroup: `delete from ${group} where date_done < ${NOW}${isFrozen ? ' and id <= ?' : ''}`,
  }

  const statement = (sql: string, params: unknown[]): Statement => ({ sql, params, asArrays: false })
  const valuesOf = (write: TaskWrite, columns: readonly Column[]) =>
    columns.map((column) => valueIn(write, column))
  // Compared with what its charset does not have, a column is an error; no row has an id without a character.
  const asked = (id: string) => (holds(facts.task.get('task_id')?.charset ?? null, id) ? id : '')
  const askedGroup = (id: string) => (holds(facts.group.get('taskset_id')?.charset ?? null, id) ? id : '')
  const refuse = (write: TaskWrite) =>
    assertFits(
      names.task,
      facts.task,
      facts,
      store.columns.map((column) => [column, valueIn(write, column)] as const),
    )
  return {
    clock,
    mostBytes: (facts.mostBytes ?? Number.POSITIVE_INFINITY) / 2,
    async store(runner, write, guarded) {
      refuse(write)
      const { taskId, status, result } = write
      const guard = guarded ? [status, digestOf(result)] : []
      return writeRow(runner, taskId, () => {
        const values = [
          secondsAhead(store, write),
          ...valuesOf(write, store.columns.slice(1)),
          taskId,
          taskId,
          ...guard,
        ]
        return {
          update: statement(guarded ? texts.updateGuarded : texts.update, values),
          find: statement(texts.find, [taskId]),
          insert: statement(texts.insert, [secondsAhead(store, write), ...valuesOf(write, store.columns)]),
          guarded,
        }
      })
    },
    async storeMany(runner, writes, guarded) {
      writes.forEach(refuse)
      return writeRows(runner, store, writes, guarded)
    },
    get: (id) => statement(texts.get, [asked(id), id]),
    getMany: (ids) => statement(`${select} where ${isAmong(ids)}`, padded(ids.map(asked))),
    state: (id) => statement(texts.state, [asked(id), id]),
    finished(ids) {
      const isDone = `${bytesOf('t.status')} in ${READY}`
      return statement(
        `select t.task_id, t.status from ${task} t where ${isAmong(ids)} and ${isDone}`,
        padded(ids.map(asked)),
      )
    },
    forget: (id) => statement(texts.forget, [asked(id), id]),
    async saveGroup(runner, id, members) {
      assertFits(names.group, facts.group, facts, [
        ['taskset_id', id],
        ['result', members],
      ])
      await writeRow(runner, id, () => ({
        update: statement(texts.updateGroup, [members, 0, id, id]),
        find: statement(texts.findGroup, [id]),
        insert: statement(texts.insertGroup, [members, 0, id]),
        guarded: false,
      }))
    },
    group: (id) => statement(texts.group, [askedGroup(id), id]),
    deleteGroup: (id) => statement(texts.deleteGroup, [askedGroup(id), id]),
    list: (request) => listStatement(task, facts.task, clock, request),
    counts: () => statement(texts.counts, []),
    newestGroup: () => statement(texts.newestGroup, []),
    cleanup(table, { seconds, newestGroup }, rows) {
      const now = Date.now()
      const expired = (by: WallClock) => (by.leastShown(now - seconds * 1_000) - now) / 1_000
      const limited = `order by date_done, id limit ${rows}`
      if (table === 'group') {
        const newest = isFrozen ? [newestGroup] : []
        return statement(`${texts.cleanupGroup} ${limited}`, [expired(UTC), ...newest])
      }
      const latest = (other.leastShown(now + LARGEST_LEAD) - now) / 1_000
      return statement(`${texts.cleanupTask} ${limited}`, [expired(clock), expired(other), latest])
    },
  }
}

const LISTED = ['name', 'worker', 'retries', 'queue']

/** A page of tasks. The limit stands in the text, since not every server takes a parameter there. */
function listStatement(
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

/** What a row is to be written with: texts and bytes are looked at. */
type Values = readonly (readonly [column: string, value: unknown])[]

/**
 * Refuses what the columns of a table cannot hold. A server in strict mode would as well, with less to say; any other cuts
 * values to the length of their column, and writes `?` for characters that its charset does not have.
 * @throws BackendError `RESULT_TOO_LARGE`, StatementError for characters
 */
function assertFits(
  table: string,
  columns: ReadonlyMap<string, ColumnFacts>,
  { mostBytes }: Pick<TableFacts, 'mostBytes'>,
  values: Values,
): void {
  let sum = 0
  for (const [column, value] of values) {
    const { octets = null, charset = null } = columns.get(column) ?? {}
    if (typeof value === 'string' && !holds(charset, value)) throw unfitCharacters(column, charset)
    const size = sizeOf(value, charset)
    if (octets !== null && size > octets) throw tooLarge(table, column, size, octets)
    sum += size
  }
  if (mostBytes !== null && sum + OVERHEAD > mostBytes) throw packetTooLarge(sum, mostBytes)
}

/** Bytes of a packet beside the values that are counted. */
const OVERHEAD = 4_096

function sizeOf(value: unknown, charset: string | null): number {
  if (value instanceof Uint8Array) return value.length
  if (typeof value !== 'string') return 0
  return SINGLE_BYTE.has(charset ?? '') ? value.length : Buffer.byteLength(value)
}

/** Whether a charset has all of a text's characters, as far as it is known here: of most of them only that they have ASCII. */
function holds(charset: string | null, text: string): boolean {
  if (charset === null || /^(?:utf8mb4|utf16|utf16le|utf32)$/.test(charset)) return true
  if (/^(?:utf8|utf8mb3|ucs2)$/.test(charset)) return !/[\u{10000}-\u{10ffff}]/u.test(text)
  return charset === 'latin1' ? LATIN1.test(text) : ASCII.test(text)
}

const SINGLE_BYTE: ReadonlySet<string> = new Set(['latin1', 'ascii'])
const ASCII = /^[\0-\x7f]*$/
/** MySQL's latin1 is Windows-1252. */
const LATIN1 = /^[\0-\x7f\xa0-\xffŒœŠšŸŽžƒˆ˜–—‘’‚“”„†‡•…‰‹›€™]*$/

function tooLarge(table: string, column: string, size: number, octets: number): BackendError {
  return new BackendError(
    'RESULT_TOO_LARGE',
    `Cannot store ${size} bytes: the column ${column} of the table ${table} holds ${octets}. ` +
      "manager.prepareModels(engine, { prepare: 'upgrade', widen: true }) gives it more room.",
  )
}

function packetTooLarge(size: number, mostBytes: number): BackendError {
  return new BackendError(
    'RESULT_TOO_LARGE',
    `Cannot store ${size} bytes: the server takes ${mostBytes} at once, as its max_allowed_packet says.`,
  )
}

function unfitCharacters(column: string, charset: string | null): StatementError {
  return new StatementError(
    'INVALID_PARAMETER',
    `Cannot store a text: it has characters that the column ${column}, whose charset is ${charset}, does not hold. ` +
      'Convert the table to utf8mb4.',
  )
}
