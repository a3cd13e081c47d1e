/** prepareModels by many processes at once on one MySQL or MariaDB database, some of which are stopped or killed. */
import { setTimeout as sleep } from 'node:timers/promises'
import { createConnection } from 'mysql2/promise'
import { beforeEach, describe, expect, it } from 'vitest'
import type { PreparedModels } from '../../src/schema/diff.ts'
import { times } from '../faults/support.ts'
import { askMysql, readMysqlCatalogue } from '../fixtures/catalogue.ts'
import { type Child, scenario, startChild } from '../fixtures/child-run.ts'
import { isLong, loops } from '../fixtures/loops.ts'
import { MARIADB_NAMES, prepareMysql, schemaErrorOf } from '../fixtures/preparing.ts'
import { startPeers, startRacers, tell } from '../fixtures/racers.ts'
import { describeNeeding, freshMysql } from '../fixtures/servers.ts'

const timeout = isLong ? 900_000 : 300_000
const created = (reports: readonly PreparedModels[]) => reports.flatMap((report) => report.created).sort()
const milliseconds = (reports: readonly PreparedModels[]) => reports.map((report) => report.milliseconds)
const SORTED = [...MARIADB_NAMES].sort()

describeNeeding('mysql', 'prepareModels on MySQL in a race', () => {
  const database = freshMysql()
  const ask = (text: string) => askMysql(database.dburi, text)
  const catalogue = () => readMysqlCatalogue(ask, database.name)
  const prepare = async () => await (await prepareMysql(database.dburi)).report
  const rounds = loops(3, 10, 2)
  const racers = loops(32, 32, 8)

  /** Not the database, which the processes are connected to. */
  async function empty(): Promise<void> {
    const connection = await createConnection(database.dburi)
    await connection.query('drop table if exists celery_taskmeta, celery_tasksetmeta')
    await connection.query('drop sequence if exists task_id_sequence, taskset_id_sequence')
    await connection.end()
  }
  beforeEach(empty)

  /** The catalogue as one call makes it that nobody disturbs; the database is empty again afterwards. */
  async function reference(): Promise<unknown> {
    await prepare()
    const made = await catalogue()
    await empty()
    return made
  }

  it(`${racers} processes × ${rounds} rounds all succeed`, { timeout }, async () => {
    const expected = await reference()
    await using children = await startRacers(racers, database.dburi)

    const took: number[] = []
    for (let round = 0; round < rounds; round++) {
      await empty()
      const reports = await children.prepare()

      expect(created(reports)).toEqual(SORTED)
      expect(await catalogue()).toEqual(expected)
      took.push(...milliseconds(reports))
    }
    tell('MySQL', racers, rounds, took)
  })

  describeNeeding('python celery mysql', 'against real Celery, which takes no lock', () => {
    const each = loops(6, 16, 3)
    const celery = () => database.dburi.replace('mysql:', 'mysql+pymysql:')

    it(`${each} of ours and ${each} create_all × ${rounds} rounds all succeed`, { timeout }, async () => {
      using peers = await startPeers(each)
      await using children = await startRacers(each, database.dburi)

      const took: number[] = []
      for (let round = 0; round < rounds; round++) {
        await empty()
        const [reports] = await Promise.all([children.prepare(), peers.prepare(celery())])

        expect(await prepare()).toMatchObject({ created: [], present: MARIADB_NAMES })
        // What Celery made first none of ours claims, and nothing two of them.
        expect(new Set(created(reports)).size).toBe(created(reports).length)
        took.push(...milliseconds(reports))
      }
      tell('MySQL with Celery', each, rounds, took)
    })
  })

  describe('when the holder of the lock', () => {
    async function holder(): Promise<Child> {
      const child = await startChild(scenario('prepare-held'), {
        arguments: [database.dburi],
        timeout: 120_000,
      })
      expect(await child.call('hold', 1)).toBe('held')
      return child
    }

    it('is stopped, others time out after 5 s', { timeout }, async () => {
      await using child = await holder()
      child.kill('SIGSTOP')

      const waits = await times(4, async () => {
        const startedAt = performance.now()
        const { report } = await prepareMysql(database.dburi)
        return { error: await schemaErrorOf(report), after: performance.now() - startedAt }
      })

      for (const { error, after } of waits) {
        expect(error.code).toBe('SCHEMA_LOCK_TIMEOUT')
        expect(after).toBeGreaterThan(4_900)
      }
      expect(await ask('show tables')).toEqual([])
    })

    it('is killed, others continue', { timeout }, async () => {
      await using child = await holder()
      child.kill('SIGSTOP')
      const waiting = times(4, prepare)
      const queue = `select id from information_schema.processlist
        where db = '${database.name}' and info like '%get_lock(%' and id <> connection_id()`
      await expect.poll(() => ask(queue)).toHaveLength(4)

      child.kill('SIGKILL')

      expect(created(await waiting)).toEqual(SORTED)
    })
  })

  describe('when a process is killed in the middle', () => {
    it('between any two of its statements, the next call creates the rest', { timeout }, async () => {
      const expected = await reference()
      const left: number[] = []
      for (;;) {
        await empty()
        await using child = await startChild(scenario('prepare-held'), { arguments: [database.dburi] })
        if ((await child.call('hold', left.length)) === 'prepared') break
        child.kill()
        await child.exited

        const { created: made, present } = await prepare()

        expect([...made, ...present].sort()).toEqual(SORTED)
        expect(await catalogue()).toEqual(expected)
        left.push(made.length)
      }

      // The lock, whether its peers know of it, the look and whether this is Galera, two sequences, two tables, and the lock
      // let go.
      expect(left).toEqual([4, 4, 4, 4, 3, 2, 1, 0])
    })

    it(`at a moment chosen by chance, ${loops(8, 50, 4)} times, the next call completes it`, {
      timeout,
    }, async () => {
      const expected = await reference()
      for (let round = 0; round < loops(8, 50, 4); round++) {
        await empty()
        const child = await startChild(scenario('prepare-models'), { arguments: [database.dburi] })
        await child.call('check')
        child.call('prepare').catch(() => {})
        await sleep(Math.random() * 60)
        child.kill()
        await child.exited

        const { created: made, present } = await prepare()

        expect([...made, ...present].sort()).toEqual(SORTED)
        expect(await catalogue()).toEqual(expected)
      }
    })
  })
})
