import type { Statement } from '../../driver/statement.ts'
import { StatementError } from '../../errors.ts'
import { UTC, type WallClock } from '../clock.ts'
import { LARGEST_LEAD, taskClocks } from '../date-done.ts'
import { BackendError } from '../errors.ts'
import { commonStatements, isTimestamp, positionsWith, sizedResult, textDates } from './common.ts'
import {
  bytesOf,
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
  writeRow,
  writeRows,
} from './mysql-write.ts'
import type { Syntax } from './syntax.ts'
import {
  type BackendDialect,
  type ColumnFacts,
  READY,
  type Statements,
  type StatementsOptions,
  type TableFacts,
  type TableNames,
  type TaskColumn,
  type TaskWrite,
  valueIn,
} from './types.ts'

export const dialect: BackendDialect = {
  introspect,
  statements,
  acceptsPosition: positionsWith(isDatetime),
  convertsDates: false,
  cleanupBatch: 1_000,
}

/**
 * Asks for the columns of both tables and how much they hold, for MariaDB's sequences, for the indexes of the tasks, and for
 * the longest packet.
 */
function introspect(names: TableNames): Statement {
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
      "select 'index', group_concat(column_name order by seq_in_index separator ', '), null, null " +
        'from information_schema.statistics where table_schema = coalesce(?, database()) and table_name = ? group by index_name',
      "select 'packet', '', @@max_allowed_packet, null",
    ].join(' union all '),
    params: [taskSchema, task, groupSchema, group, taskSchema, groupSchema, taskSchema, task],
    asArrays: false,
  }
}

/**
 * One row is written by an update, and by an insert where there was none: `insert … on duplicate key update` alone draws
 * an id each time, and ids are 32 bits wide.
 *
 * Servers compare texts without regard to case and to blanks at the end, unless the collation of a column differs, as that of
 * the ids in our tables does for case. Every statement finds its rows by that comparison and its index, and then compares
 * bytes.
 */
function statements(names: TableNames, facts: TableFacts, options: StatementsOptions): Statements {
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

  // Compared with what its charset does not have, a column is an error; no row has an id without a character.
  const asked = (column: string, text: string) => {
    const { charset = null } = (column === 'taskset_id' ? facts.group : facts.task).get(column) ?? {}
    return holds(charset, text) ? text : ''
  }
  const syntax: Syntax = {
    task,
    group,
    placeholder: () => '?',
    bytes: bytesOf,
    integer: (value) => value,
    result: sizedResult(options.maxResultBytes),
    from: (table) => `${table} t`,
    dateDone: 't.date_done',
    listedDate: 't.date_done',
    isId: isExactly,
    idParams: (column, id) => [asked(column, id), id],
    isAmongIds: isAmong,
    idsParams: (ids) => padded(ids.map((id) => asked('task_id', id))),
    isText: (column, text, bind) =>
      `t.${column} = ${bind(asked(column, text))} and ${bytesOf(`t.${column}`)} = ${bytesOf(bind(text))}`,
    isAmongStates(states, bind) {
      // Beside a NULL, which no row is, MariaDB takes a single state for a range, in which an index of it sorts nothing.
      const among = (column: string, each: readonly string[]) =>
        `${column} in (${each.length === 0 ? 'null' : each.join(', ')})`
      const found = among(
        't.status',
        states.map((state) => bind(asked('status', state))),
      )
      return `${found} and ${among(
        bytesOf('t.status'),
        states.map((state) => bytesOf(bind(state))),
      )}`
    },
    ...textDates(clock),
    // The first half is what its index is used for.
    isBehind: (than, { id, dateDone }, bind) =>
      `t.date_done ${than}= ${bind(dateDone)} and (t.date_done ${than} ${bind(dateDone)} or t.id ${than} ${bind(id)})`,
    // By the index, in the order of its collation, and then byte by byte.
    isPrefixed: (prefix, bind) =>
      `t.task_id like ${bind(patternOf(asked('task_id', prefix)))} escape '|' ` +
      `and ${bytesOf(`left(t.task_id, ${[...prefix].length})`)} = ${bytesOf(bind(prefix))}`,
    idOrder: (direction) => `t.task_id ${direction}`,
    isBehindId: (than, taskId, bind) => `t.task_id ${than} ${bind(asked('task_id', taskId))}`,
    guide: () => null,
    // In the text, since not every server takes a parameter there.
    limit: String,
  }
  const texts = {
    update: updateText(store, false),
    updateGuarded: updateText(store, true),
    insert: insertText(store),
    find: `select task_id as id, status from ${task} where task_id = ?`,
    updateGroup: `update ${group} set result = ?, date_done = ${NOW} where ${isExactly('taskset_id')}`,
    findGroup: `select taskset_id as id from ${group} where taskset_id = ?`,
    insertGroup: `insert into ${group} (${idColumn}result, date_done, taskset_id) values (${groupNext}?, ${NOW}, ?)`,
    counts: `select min(status) as status, count(*) as tasks from ${task} group by ${bytesOf('status')}`,
    // Expired by the other clock, too, unless that puts it in the future.
    cleanupTask:
      `delete from ${task} where date_done < ${NOW} and (date_done < ${NOW} or date_done > ${NOW})` +
      (isFrozen ? ` and ${bytesOf('status')} in ${READY}` : ''),
    cleanupGroup: `delete from ${group} where date_done < ${NOW}${isFrozen ? ' and id <= ?' : ''}`,
  }

  const statement = (sql: string, params: unknown[]): Statement => ({ sql, params, asArrays: false })
  const valuesOf = (write: TaskWrite, columns: readonly TaskColumn[]) =>
    columns.map((column) => valueIn(write, column))
  const refuse = (write: TaskWrite) =>
    assertFits(
      names.task,
      facts.task,
      facts,
      store.columns.map((column) => [column, valueIn(write, column)] as const),
    )
  return {
    ...commonStatements(syntax, facts, options),
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
    counts: () => statement(texts.counts, []),
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

/** Of `like`, with `|` before what means more than itself. */
function patternOf(prefix: string): string {
  return `${prefix.replace(/[|%_]/g, '|$&')}%`
}

/** Whether MySQL takes it for a `datetime`, as it prints them: also a day that is none, as old programs store. */
function isDatetime(dateDone: string | number): boolean {
  const isZero = /^0000-00-00 00:00:00(?:\.0{1,6})?$/.test(String(dateDone))
  return isZero || (/^\d{4}-[^B]*$/.test(String(dateDone)) && isTimestamp(dateDone))
}

/** The values of a row, of which texts and bytes are checked. */
type Values = readonly (readonly [column: string, value: unknown])[]

/**
 * Refuses what the columns of a table cannot hold. A server in strict mode would as well, with a poorer message; any other
 * truncates values to their columns, and writes `?` for characters that the charset does not have.
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

/** Whether a charset has all characters of a text; of most charsets only ASCII is assumed. */
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
