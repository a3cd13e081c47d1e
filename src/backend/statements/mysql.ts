import type { Statement } from '../../statement.ts'
import { LARGEST_LEAD, taskClocks } from '../date-done.ts'
import { UTC, type WallClock } from '../wall-clock.ts'
import { listStatement } from './mysql/list.ts'
import { holds, refuseUnfit } from './mysql/room.ts'
import { bytesOf, isAmong, isExactly, NOW, nextOf, padded, qualified } from './mysql/text.ts'
import {
  type Column,
  digestOf,
  insertText,
  type Store,
  secondsAhead,
  updateText,
  valueIn,
  writeRow,
  writeRows,
} from './mysql/write.ts'
import type { Statements, StatementsOptions, TableFacts, TableNames, TaskWrite } from './statements.ts'
import { READY } from './statements.ts'

/** Asks for the columns of both tables and how much they hold, for MariaDB's sequences, and for the longest packet. */
export function lookAtMysql(names: TableNames): Statement {
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
    refuseUnfit(
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
      refuseUnfit(names.group, facts.group, facts, [
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
