import { describe, expect, it } from 'vitest'
import { redactedMessage } from '../../src/adapters/postgresql/errors.ts'
import { redactMessage } from '../../src/driver/redact.ts'

/** What becomes of a database's message where parameters were bound. The same on real databases: faults/parameters-in-errors. */

const LONG = `secret-medical-record-of-${'abcdefghij'.repeat(20)}`

describe('a message of PostgreSQL', () => {
  it.each([
    [
      'a value',
      '22P02',
      'invalid input syntax for type integer: "abc"',
      ['abc'],
      'invalid input syntax for type integer: "[hidden]"',
    ],
    [
      'a value with quotes',
      '22P02',
      'invalid input syntax for type integer: "a"b c"',
      ['{a"b c}'],
      'invalid input syntax for type integer: "[hidden]"',
    ],
    [
      'a value that begins another',
      '22P02',
      'invalid input syntax for type integer: "a" "b"',
      ['a" "b'],
      'invalid input syntax for type integer: "[hidden]"',
    ],
    [
      'one of its characters',
      '22023',
      'unrecognized format() type specifier "S"',
      ['%SECRET'],
      'unrecognized format() type specifier "[hidden]"',
    ],
    [
      'a number',
      '22003',
      'value "98765" is out of range for type integer',
      ['98765'],
      'value "[hidden]" is out of range for type integer',
    ],
    [
      'a number without quotes',
      '42704',
      'large object 815471117 does not exist',
      [815471117n],
      'large object [hidden] does not exist',
    ],
    [
      'a name in small letters',
      '42P01',
      'relation "secret_relation" does not exist',
      ['Secret_Relation'],
      'relation "[hidden]" does not exist',
    ],
    [
      'a name that was cut',
      '42P01',
      `relation "${LONG.slice(0, 63)}" does not exist`,
      [LONG],
      'relation "[hidden]" does not exist',
    ],
    [
      'a name within a longer one',
      '42P01',
      'relation "tmp_secret_1" does not exist',
      ['Secret'],
      'relation "[hidden]" does not exist',
    ],
    [
      'a name without quotes',
      '42501',
      'permission denied for sequence secretseq',
      ['SecretSeq'],
      'permission denied for sequence [hidden]',
    ],
    [
      'bytes as text',
      '22021',
      'invalid byte sequence in CANARYBYTES',
      ['\\x43414e4152594259544553'],
      'invalid byte sequence in [hidden]',
    ],
    [
      'a key of CockroachDB',
      '40001',
      'restart transaction: WriteTooOldError: write for key /Table/106/1/"alice"/0',
      ['alice'],
      'restart transaction: WriteTooOldError: write for key /Table/106/1/"[hidden]"/0',
    ],
  ])('hides %s', (_, code, message, params, expected) => {
    expect(redactedMessage({ message, code }, { sql: 'select $1', params }, [])).toBe(expected)
  })

  it.each([
    [
      'left and upper',
      `patient ${LONG.slice(0, 30)} has number 815471117, ${LONG.toUpperCase()}`,
      [LONG, '815471117'],
      'patient [hidden] has number [hidden], [hidden]',
    ],
    ['short words', 'patient ab cd ef gh is gone', ['AB CD EF GH'], 'patient [hidden] is gone'],
    ['put together', 'order-secret42-x is closed', ['Secret42'], '[hidden] is closed'],
    ['nothing', 'insufficient funds', ['alice', '12'], 'insufficient funds'],
    ['a text of the statement', 'cannot write to orders', ['orders'], 'cannot write to orders'],
  ])('that a trigger raised, made of %s', (_, message, params, expected) => {
    const sql = 'insert into orders values ($1, $2)'

    expect(redactedMessage({ message, code: 'P0001' }, { sql, params }, [])).toBe(expected)
    // Whatever SQLSTATE it is raised with.
    expect(redactedMessage({ message, code: '23514', routine: 'exec_stmt_raise' }, { sql, params }, [])).toBe(
      expected,
    )
  })

  it.each([
    ['23505', 'duplicate key value violates unique constraint "users_email_key"', ['users_email_key']],
    [
      '23502',
      'null value in column "email" of relation "users" violates not-null constraint',
      ['users', 'email'],
    ],
    [
      '23503',
      'update or delete on table "users" violates foreign key constraint "o_fk" on table "orders"',
      ['o_fk'],
    ],
    ['42703', 'column "nme" of relation "Users" does not exist', []],
    ['42P01', 'relation "public.users" does not exist', []],
    ['22001', 'value too long for type character varying(3)', []],
    ['42804', 'column "email" is of type integer but expression is of type text', []],
  ])('keeps names and its own words: %s %s', (code, message, names) => {
    const sql = 'insert into "public"."users" ("nme", "email") values ($1, $2)'
    // A text of everyday words, and names of the tables among them.
    const params = [
      'the value of a column that violates a key: users, orders, character varying, users_email_key, email',
    ]

    expect(redactedMessage({ message, code }, { sql, params }, names)).toBe(message)
  })

  it('is left alone where no parameter says anything', () => {
    const message = 'no parameters, so "nothing" to hide'

    for (const params of [[], [null, true, '']]) {
      expect(redactedMessage({ message, code: '22P02' }, { sql: '', params }, [])).toBe(message)
    }
  })

  it('is cut where it repeats a value at length', () => {
    const told = redactedMessage(
      { message: 'x '.repeat(10_000), code: 'P0001' },
      { sql: '', params: ['abc'] },
      [],
    )

    expect(told).toHaveLength(1_001)
  })

  it('is looked through for a parameter of 60 MB in a moment', { tags: 'full' }, () => {
    const params = ['lorem ipsum dolor '.repeat(3_500_000)]
    const startedAt = performance.now()
    const message = 'ipsumX raised by somebody else'

    expect(redactedMessage({ message, code: 'P0001' }, { sql: '', params }, [])).toBe(
      '[hidden] raised by somebody else',
    )
    expect(performance.now() - startedAt).toBeLessThan(5_000)
  })
})

describe('a message of MySQL or SQLite', () => {
  it('has quotes and apostrophes of other kinds', () => {
    const context = { params: ['top-Secret'], sql: 'select * from `t`', about: 'names' } as const

    expect(redactMessage("Table 'test.secret_t' doesn't exist", context)).toBe(
      "Table '[hidden]' doesn't exist",
    )
    expect(redactMessage("Table 'x.t' doesn't exist", context)).toBe("Table 'x.t' doesn't exist")
    expect(redactMessage("bad JSON path: 'top-secret'", context)).toBe("bad JSON path: '[hidden]'")
  })
})
