import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { DatabaseBackend } from 'drizzle-celery/backend'
import { encode } from 'drizzle-celery/pickle'
import postgres from 'postgres'
import { compare, median, round } from './measure.ts'
import { report, reportRatio } from './report.ts'

/** What a small task returns. */
const VALUE = { ok: true, total: 12.5, items: [1, 2, 3], note: 'done' }

/** An upsert as one would write it for the same columns, but for the id. */
const UPSERT =
  'insert into celery_taskmeta (id, task_id, status, result, date_done, traceback) ' +
  "values (nextval('task_id_sequence'), $1, $2, $3, now() at time zone 'utc', null) on conflict (task_id) do update set " +
  'status = excluded.status, result = excluded.result, date_done = excluded.date_done, traceback = excluded.traceback'

const SELECT = 'select task_id, status, result, date_done, traceback from celery_taskmeta where task_id = $1'

/** Against real Celery in a process of its own, its connections pooled; and against the bare driver. */
export async function backend(): Promise<void> {
  const server = process.env['POSTGRES_URL']
  if (server === undefined) {
    console.log('  not measured: POSTGRES_URL is not set')
    return
  }
  const admin = postgres(server, { max: 1, onnotice() {} })
  await admin.unsafe('drop database if exists dc_bench_backend with (force)')
  await admin.unsafe('create database dc_bench_backend template template0')
  const dburi = new URL(server)
  dburi.pathname = '/dc_bench_backend'
  try {
    await using ours = new DatabaseBackend(dburi.href)
    await ours.getState('opens')
    await againstCelery(dburi.href, ours)
    await againstTheDriver(dburi.href, ours)
    await manyAtOnce(ours)
  } finally {
    await admin.unsafe('drop database dc_bench_backend with (force)')
    await admin.end()
  }
}

async function againstCelery(dburi: string, ours: DatabaseBackend): Promise<void> {
  const python = process.env['CELERY_PYTHON'] || '/usr/bin/python3'
  const peer = spawn(python, [
    fileURLToPath(new URL('../test/fixtures/celery/backend_peer.py', import.meta.url)),
  ])
  peer.stderr.resume()
  const lines = createInterface({ input: peer.stdout })[Symbol.asyncIterator]()
  const { done } = await lines.next()
  if (done) {
    console.log(`  not measured against Celery: ${python} has none`)
    return
  }
  /** Microseconds of one operation, as Celery's process measures it. */
  const celery = async (
    what: What,
    pooled: boolean,
    operations: number,
    threads: number,
  ): Promise<number> => {
    const request = { command: 'bench', dburi, pooled, value: VALUE, what, operations, threads }
    peer.stdin.write(`${JSON.stringify(request)}\n`)
    const { value } = await lines.next()
    const { result, error } = JSON.parse(value) as { result?: number; error?: string }
    if (result === undefined) throw new Error(error)
    return result
  }

  try {
    let turn = 0
    const store = () => ours.storeResult(`ours-${turn++ % 640}`, VALUE, 'SUCCESS')
    const get = () => ours.getTaskMeta(`ours-${turn++ % 640}`)
    for (let number = 0; number < 640; number++) await store()
    // Unpooled first: once its pool is on, that process keeps it. It is so in every process but a forked worker.
    for (const pooled of [false, true]) {
      for (const [what, atOnce, operations, least] of MEASURED) {
        const operation = what === 'store' ? store : get
        await celery(what, pooled, atOnce, atOnce)
        await round(operation, operations, atOnce)
        const rounds: { theirs: number; ours: number }[] = []
        for (let each = 0; each < 5; each++) {
          const theirs = await celery(what, pooled, pooled ? Math.min(operations, 640) : 128, atOnce)
          rounds.push({ theirs, ours: await round(operation, operations, atOnce) })
        }
        const name = what === 'store' ? 'storeResult' : 'getTaskMeta'
        const times = atOnce === 1 ? 'one at a time' : `${atOnce} at once`
        reportRatio(
          `${name}, ${times}, against Celery's, ${pooled ? 'its pool on' : 'as it comes'}`,
          {
            ratio: median(rounds.map((each) => each.theirs / each.ours)),
            baselineMicroseconds: median(rounds.map((each) => each.theirs)),
            oursMicroseconds: median(rounds.map((each) => each.ours)),
          },
          least,
        )
      }
    }
  } finally {
    peer.kill()
  }
}

type What = 'store' | 'get'

/** What is measured: how many at once, how many of ours a round, and how often Celery's throughput is wanted. */
const MEASURED: readonly (readonly [what: What, atOnce: number, operations: number, least: number])[] = [
  ['store', 1, 300, 10],
  ['get', 1, 600, 5],
  ['store', 64, 1_280, 30],
  ['get', 64, 2_560, 25],
]

async function againstTheDriver(dburi: string, ours: DatabaseBackend): Promise<void> {
  const bare = postgres(dburi, { max: 5, fetch_types: false, onnotice() {} })
  let turn = 0
  const theirs = () =>
    bare.unsafe(UPSERT, [`bare-${turn++ % 640}`, 'SUCCESS', Buffer.from(encode(VALUE))], { prepare: true })
  const store = () => ours.storeResult(`ours-${turn++ % 640}`, VALUE, 'SUCCESS')
  reportRatio(
    'storeResult, 64 at once, against a prepared upsert of postgres.js',
    await compare(theirs, store, { operations: 1_920, atOnce: 64 }),
    0.8,
  )
  await bare.unsafe(SELECT, ['bare-1'], { prepare: true })
  const read = () => bare.unsafe(SELECT, [`bare-${turn++ % 640}`], { prepare: true })
  const get = () => ours.getTaskMeta(`ours-${turn++ % 640}`)
  const floors = [await round(theirs, 300), await round(read, 600)]
  report('the bare driver: an upsert one at a time', floors[0] ?? 0, 'µs')
  report('the bare driver: a select one at a time', floors[1] ?? 0, 'µs')
  reportRatio(
    'getTaskMeta, 64 at once, against a prepared select of postgres.js',
    await compare(read, get, { operations: 3_840, atOnce: 64 }),
    0.7,
  )
  await bare.end()
}

async function manyAtOnce(ours: DatabaseBackend): Promise<void> {
  const ratios: number[] = []
  for (let turn = 0; turn < 3; turn++) {
    const results = Array.from({ length: 10_000 }, (_, number) => ({
      taskId: `many-${turn}-${number}`,
      result: VALUE,
    }))
    const single = results.map((result) => ({ ...result, taskId: `single-${result.taskId}` }))
    const startedAt = performance.now()
    await ours.storeMany(results)
    const together = performance.now() - startedAt
    const next = single.values()
    const beganAt = performance.now()
    await Promise.all(
      Array.from({ length: 64 }, async () => {
        for (const { taskId, result } of next) await ours.storeResult(taskId, result, 'SUCCESS')
      }),
    )
    ratios.push((performance.now() - beganAt) / together)
  }
  report('storeMany of 10,000, against as many storeResult, 64 at once', median(ratios), '×', { least: 4 })
}
