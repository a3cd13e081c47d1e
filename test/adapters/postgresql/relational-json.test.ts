import { SessionManager } from 'drizzle-celery'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  type JsonRows,
  parseRows,
  relationalColumnsOf,
} from '../../../src/adapters/postgresql/relational-json.ts'
import { createPostgres, describeNeeding, type TestDatabase } from '../../fixtures/servers.ts'

/** Relational queries of Drizzle 0.45 on PostgreSQL: the long numbers of columns keep their digits, and nothing else changes. */

/** As Drizzle 0.45 writes it: a relation with a relation, an expression, and a single row beside; names are hostile. */
const QUERY =
  'select "u"."id", "u"."tags", "u_p""s, (x)"."data" as "p""s, (x)", "u_one"."data" as "one", "u_none"."data" as "none" from "ru" "u" ' +
  `left join lateral (select coalesce(json_agg(json_build_array("u_ps"."id", "u_ps"."n", "u_ps"."d", "u_ps"."data", 'a, (b' || '''', ` +
  `(12345678901234567891), "u_ps_u"."data") order by "u_ps"."id"), '[]'::json) as "data" from "rp" "u_ps" ` +
  `left join lateral (select json_build_array("u_ps_u"."id", "u_ps_u"."tags") as "data" from (select * from "ru" "u_ps_u" where "u_ps_u"."id" = "u_ps"."uid" limit $1) "u_ps_u") "u_ps_u" on true ` +
  'where "u_ps"."uid" = "u"."id") "u_p""s, (x)" on true ' +
  'left join lateral (select json_build_array("u_one"."id", "u_one"."n") as "data" from (select * from "rp" "u_one" where "u_one"."uid" = "u"."id" limit 1) "u_one") "u_one" on true ' +
  'left join lateral (select json_build_array("u_none"."id") as "data" from (select * from "rp" "u_none" where false limit 1) "u_none") "u_none" on true'

const ROWS = [
  [
    '9007199254740993',
    [12345678901234567000, { n: 1e30 }],
    [
      // A column of JSON that is an array is no relation, whatever its name; a bare number in one is the same number when parsed.
      [
        '9007199254740993',
        '12345678901234567890.12',
        0.1,
        [12345678901234567000, '1'],
        "a, (b'",
        12345678901234567000,
        ['9007199254740993', [12345678901234567000, { n: 1e30 }]],
      ],
      [
        '9007199254740994',
        10.5,
        1e20,
        '12345678901234567890',
        "a, (b'",
        12345678901234567000,
        ['9007199254740993', [12345678901234567000, { n: 1e30 }]],
      ],
    ],
    ['9007199254740993', '12345678901234567890.12'],
    null,
  ],
]

const SETUP = [
  'create table ru (id bigint primary key, tags json)',
  'create table rp (id bigint primary key, uid bigint, n numeric, d double precision, data json)',
  `insert into ru values (9007199254740993, '[12345678901234567890, {"n": 1000000000000000000000000000000}]')`,
  `insert into rp values (9007199254740993, 9007199254740993, 12345678901234567890.12, 0.1, '[12345678901234567890, "1"]'),
     (9007199254740994, 9007199254740993, 10.50, 1e20, '12345678901234567890')`,
]

/** A bigint of the query's own is a text to one driver and a bigint to the other. */
function plain(rows: unknown): unknown {
  return JSON.parse(JSON.stringify(rows, (_, value) => (typeof value === 'bigint' ? String(value) : value)))
}

function suite(open: (manager: SessionManager) => Promise<string>): void {
  const manager = new SessionManager({ prepare: 'none' })
  let dburi: string
  const run = async (sql: string, params: unknown[] = [], asArrays = true) =>
    (await manager.getEngine(dburi)).run({ sql, params, asArrays })
  beforeAll(async () => {
    dburi = await open(manager)
    for (const text of SETUP) await run(text)
  })
  afterAll(() => manager.dispose({ grace: 0 }))

  it('keep the digits of columns in what they have `with`, at any depth', async () => {
    for (const _run of ['first', 'prepared']) expect(plain(await run(QUERY, [1]))).toEqual(ROWS)
    expect(plain(await run(QUERY.replace('$1', '1')))).toEqual(ROWS)
  })

  it('are no other statements: JSON is read as plain Drizzle has it', async () => {
    const read = JSON.parse('[12345678901234567890, [1, "1"]]')

    expect(
      await run(`select '[12345678901234567890, [1, "1"]]'::json, json_build_array(12345678901234567890)`),
    ).toEqual([[read, [12345678901234567000]]])
    // A statement of the user's own, whose rows are objects.
    expect(await run(QUERY, [1], false)).toMatchObject([{ one: [9007199254740992, 12345678901234567000] }])
  })
}

describeNeeding('postgresql', 'relational queries on PostgreSQL', () => {
  let database: TestDatabase
  afterAll(() => database.drop())
  suite(async () => {
    database = await createPostgres()
    return database.dburi
  })
})

describe('relational queries on PGlite', () => {
  suite(async () => 'pglite:')
})

describe('what is known of a relational query', () => {
  it('is where its relations stand, by what is joined, and not by names alone', () => {
    const pair: JsonRows = { isMany: false, values: ['column', 'column'] }

    expect(relationalColumnsOf(QUERY)).toEqual(
      new Map([
        [
          2,
          {
            isMany: true,
            values: ['column', 'column', 'column', 'column', 'expression', 'expression', pair],
          },
        ],
        [3, pair],
        [4, { isMany: false, values: ['column'] }],
      ]),
    )
  })

  it.each([
    'select 1',
    'select json_build_array("a"."data") as "data" from "a"',
    'select "a"."data" as "x" from "b" left join lateral (select json_build_array(1) from "c") "a" on true',
    'select "a"."data" as "x" from "b" left join lateral (select json_build_array(1) as "data"',
    'with x as (select json_build_array(1)) select * from x left join lateral (select 1) "a" on true',
    `select 'left join lateral (select json_build_array(' || "a"`,
    'select "a left join lateral (select json_build_array(',
  ])('is nothing of another statement: %s', (sql) => {
    expect(relationalColumnsOf(sql)).toBeNull()
  })

  it.each(['[1234567890123456789, "abc', '[[1234567890123456789, {"a": "abc', '[1234567890123456789'])(
    'of a server that breaks off is refused: %s',
    (json) => {
      expect(() => parseRows(json, { isMany: false, values: ['column', 'column'] })).toThrow(SyntaxError)
    },
  )

  it('leaves all JSON as it is but for long numbers of columns', () => {
    const long = fc.bigInt({ min: 10n ** 17n, max: 10n ** 30n })
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.jsonValue(), long, fc.jsonValue())),
        fc.boolean(),
        (rows, isSpaced) => {
          const space = isSpaced ? ' \n' : ''
          const json = `[${rows
            .map(([a, n, b]) => [JSON.stringify(a), n, JSON.stringify(b, null, space)].join(`,${space}`))
            .map((row) => `[${row}]`)
            .join(`${space},`)}]`
          const shape: JsonRows = { isMany: true, values: ['expression', 'column', 'expression'] }

          expect(parseRows(json, shape)).toEqual(
            JSON.parse(json).map(([a, , b]: unknown[], at: number) => [a, String(rows[at]?.[1]), b]),
          )
        },
      ),
    )
  })
})
