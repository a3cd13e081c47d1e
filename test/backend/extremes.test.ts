/** Values of every size and texts of every kind. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { encodeResult, jsonSerializer } from '../../src/backend/column.ts'
import { DatabaseBackend } from '../../src/backend/database-backend.ts'
import { PyDecimal, PyTuple } from '../../src/pickle/index.ts'
import { askPostgres } from '../fixtures/catalogue.ts'
import { BackendPeer } from '../fixtures/celery/backend-peer.ts'
import { loops } from '../fixtures/loops.ts'
import { describeNeeding, freshPostgres, python3 } from '../fixtures/servers.ts'
import { newId } from './behaviour.ts'

// A slow machine needs long for 300 MiB.
vi.setConfig({ testTimeout: 120_000 })
const directory = mkdtempSync(join(tmpdir(), 'dc-extremes-'))
afterAll(() => rmSync(directory, { recursive: true }))

const SIZE = 300 * 2 ** 20
const SEED = 20_261_122
const TEXTS = loops(5_000, 5_000, 1_000)
const VALUES = loops(10_000, 10_000, 2_000)

describe('T36: a result of 300 MiB', () => {
  const database = `file:${join(directory, 'large.db')}`
  // By another process: in this one the database itself would take the memory.
  const inAnotherProcess = (statements: readonly string[]) => {
    const script =
      "import { createClient } from '@libsql/client';" +
      `await createClient({ url: ${JSON.stringify(database)} }).migrate(${JSON.stringify(statements)})`
    execFileSync(process.execPath, ['--input-type=module', '--eval', script])
  }
  leavesLargeResultsAlone(
    () => database,
    `zeroblob(${SIZE})`,
    async (statements) => inAnotherProcess(statements),
  )

  describeNeeding('postgresql', 'on PostgreSQL', () => {
    const fresh = freshPostgres()
    leavesLargeResultsAlone(
      () => fresh.dburi,
      `convert_to(repeat('x', ${SIZE}), 'utf8')`,
      async (statements) => void (await askPostgres(fresh.dburi, statements.join(';'))),
    )
  })
})

function leavesLargeResultsAlone(
  dburi: () => string,
  large: string,
  run: (statements: readonly string[]) => Promise<void>,
): void {
  it('is refused by its size, before it is fetched; all else of its row is there', {
    tags: 'full',
  }, async () => {
    await using backend = new DatabaseBackend(dburi())
    const id = newId()
    await backend.markAsDone(id, 'small')
    await backend.saveGroup(id, ['x'])
    await run([
      `update celery_taskmeta set result = ${large} where task_id = '${id}'`,
      `update celery_tasksetmeta set result = ${large} where taskset_id = '${id}'`,
    ])

    const before = process.resourceUsage().maxRSS
    const meta = await backend.getTaskMeta(id)
    const many = await backend.getMany([id])

    const tooLarge = expect.objectContaining({
      code: 'RESULT_TOO_LARGE',
      message: expect.stringContaining(`${SIZE}`),
    })
    expect(meta.status).toBe('SUCCESS')
    expect(() => meta.result).toThrow(tooLarge)
    expect(() => many.get(id)?.result).toThrow(tooLarge)
    await expect(backend.restoreGroup(id)).rejects.toEqual(tooLarge)
    expect((process.resourceUsage().maxRSS - before) / 1024).toBeLessThan(100)
  })

  it('a limit of one own holds for results that are no pickles too', async () => {
    await using backend = new DatabaseBackend(dburi(), { wire: 'serializer', pickle: { maxBytes: 1_000 } })
    const [below, above] = [newId(), newId()]
    await backend.markAsDone(below, 'x'.repeat(998))
    await backend.markAsDone(above, 'x'.repeat(999))

    expect(await backend.getResult(below)).toHaveLength(998)
    await expect(backend.getResult(above)).rejects.toMatchObject({ code: 'RESULT_TOO_LARGE' })
  })
}

describeNeeding(['python celery', 'postgresql'], 'with real Celery', () => {
  let peer: BackendPeer
  const fresh = freshPostgres()
  beforeAll(async () => {
    peer = new BackendPeer(python3() ?? '')
    await peer.ready()
  })
  afterAll(() => peer[Symbol.dispose]())

  it.each(['SQLite', 'PostgreSQL'])(
    `T68: ${TEXTS} texts are stored and read equal on %s, also by Python, or refused`,
    async (name) => {
      const path = join(directory, 'texts.db')
      const [dburi, theirs] =
        name === 'SQLite' ? [`file:${path}`, `sqlite:///${path}`] : [fresh.dburi, fresh.dburi]
      await using backend = new DatabaseBackend(dburi)
      const texts = [...new Set(fc.sample(text, { numRuns: TEXTS * 1.12, seed: SEED }))].slice(0, TEXTS)
      expect(texts).toHaveLength(TEXTS)

      const rows: [id: string, status: string, traceback: string][] = []
      let refused = 0
      for (const [number, id] of texts.entries()) {
        const other = texts[(number * 7 + 1) % texts.length] ?? ''
        const row = {
          taskId: id,
          result: id,
          state: [...`S${other}`].slice(0, 50).join(''),
          traceback: other,
        }
        const mayBeStored = id !== '' && !UNSTORABLE.test(id) && [...id].length <= 155
        if (!mayBeStored) {
          refused++
          await expect(backend.storeMany([row])).rejects.toMatchObject({ code: 'INVALID_PARAMETER' })
          continue
        }
        rows.push([id, cleaned(row.state), cleaned(other)])
      }
      const results = rows.map(([taskId, state], at) => ({
        taskId,
        result: taskId,
        state,
        traceback: rows[at]?.[2] ?? '',
      }))
      const alone = results.slice(0, 300)
      await Promise.all(
        alone.map(({ taskId, result, state, ...options }) =>
          backend.storeResult(taskId, result, state, options),
        ),
      )
      await backend.storeMany(results.slice(300))

      const metas = await backend.getMany(rows.map(([id]) => id))
      const wrong = rows.filter(([id, status, traceback]) => {
        const meta = metas.get(id)
        return meta?.status !== status || meta.traceback !== traceback || meta.result !== id
      })
      expect(wrong).toEqual([])
      expect(await peer.ask({ command: 'compare', dburi: theirs, pooled: true, rows })).toEqual([])
      expect(refused).toBeGreaterThan(TEXTS / 50)
      expect(rows.length + refused).toBe(TEXTS)
    },
  )

  it(`T72: ${VALUES} results are what CPython reads, by nothing but plain data and a few known classes`, async () => {
    const samples = fc.sample(value, { numRuns: VALUES, seed: SEED })
    const pickles = samples.map(([sample]) => {
      const bytes = encodeResult(sample, 'SUCCESS', { wire: 'pickle', serializer: jsonSerializer })
      return Buffer.from(bytes ?? NONE).toString('hex')
    })
    const values = samples.map(([, python]) => python)

    const wrong = await peer.ask({ command: 'loads', pickles, values, protocol: NONE[1] })

    expect(wrong).toEqual([])
  })
})

/** A pickled `None`, as which SQL NULL is read. */
const NONE = encodeResult([], 'SUCCESS', { wire: 'pickle', serializer: jsonSerializer }) ?? new Uint8Array()

const cleaned = (given: string) => given.replace(/[\0\p{Surrogate}]/gu, '\ufffd')
const UNSTORABLE = /[\0\p{Surrogate}]/u

/** Every kind of character, halves of surrogate pairs and NUL among them, and the lengths at which columns end. */
const text = fc.oneof(
  { weight: 6, arbitrary: fc.string({ unit: 'binary', maxLength: 155 }) },
  {
    weight: 2,
    arbitrary: fc.string({
      unit: fc.integer({ min: 0, max: 0xffff }).map((code) => String.fromCharCode(code)),
      maxLength: 80,
    }),
  },
  { weight: 1, arbitrary: fc.string({ unit: 'grapheme', minLength: 154, maxLength: 157 }) },
  {
    weight: 1,
    arbitrary: fc
      .tuple(
        fc.string(),
        fc.constantFrom("'; drop table celery_taskmeta --", '\\', '"', '%', '\n\r\u2028', '\0', '\ud800'),
      )
      .map((parts) => parts.join('')),
  },
)

/** A value, and the Python expression of what it has to become. */
type Sample = readonly [value: unknown, python: string]

const literal = (given: string) =>
  `'${[...given].map((character) => `\\U${(character.codePointAt(0) ?? 0).toString(16).padStart(8, '0')}`).join('')}'`

const scalar: fc.Arbitrary<Sample> = fc.oneof(
  fc.constant([true, 'True'] as const),
  fc.constant([false, 'False'] as const),
  fc.maxSafeInteger().map((number) => [number, String(number)] as const),
  fc.bigInt({ min: -(2n ** 200n), max: 2n ** 200n }).map((number) => [number, String(number)] as const),
  fc
    .double({ noDefaultInfinity: false })
    .filter((number) => !Number.isInteger(number))
    .map(
      (number) =>
        [
          number,
          Number.isFinite(number)
            ? `float('${number}')`
            : `float('${String(number).toLowerCase().replace('infinity', 'inf')}')`,
        ] as const,
    ),
  text.map((given) => [given, literal(given)] as const),
  fc
    .uint8Array({ maxLength: 300 })
    .map((bytes) => [bytes, `bytes.fromhex('${Buffer.from(bytes).toString('hex')}')`] as const),
  fc.integer({ min: -999_999, max: 999_999 }).map((cents) => {
    const digits = (cents / 100).toFixed(2)
    return [new PyDecimal(digits), `Decimal('${digits}')`] as const
  }),
)

const { value } = fc.letrec<{ value: Sample }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4, withCrossShrink: true },
    scalar,
    fc
      .array(tie('value'), { maxLength: 6 })
      .map((items) => [items.map(first), `[${items.map(second).join(', ')}]`] as const),
    fc
      .array(tie('value'), { maxLength: 4 })
      .map(
        (items) =>
          [PyTuple.from(items.map(first)), `(${items.map((item) => `${item[1]}, `).join('')})`] as const,
      ),
    fc
      .uniqueArray(fc.tuple(fc.string(), tie('value')), { maxLength: 5, selector: first })
      .map(
        (entries) =>
          [
            new Map(entries.map(([key, [inner]]) => [key, inner])),
            `{${entries.map(([key, [, python]]) => `${literal(key)}: ${python}`).join(', ')}}`,
          ] as const,
      ),
  ),
}))

function first<First>(pair: readonly [First, ...unknown[]]): First {
  return pair[0]
}

function second([, python]: Sample): string {
  return python
}
