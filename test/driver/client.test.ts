import { inspect } from 'node:util'
import { SessionManager, StatementError } from 'drizzle-celery'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { describeNeeding, freshMysql, freshPostgres } from '../fixtures/servers.ts'

/** `$client` of a handle has what keeps to its pool and its transaction, and refuses the rest by name. */

let manager: SessionManager
beforeEach(() => {
  manager = new SessionManager({ prepare: 'none' })
})
afterEach(() => manager.dispose({ grace: 0 }))

/** What is thrown when a member is called, now or later. */
async function refusalOf($client: object, ...path: string[]): Promise<unknown> {
  try {
    let member: unknown = $client
    for (const [index, name] of path.entries()) {
      const isLast = index === path.length - 1
      const owner = member as Record<string, (...args: unknown[]) => unknown>
      member = isLast ? await owner[name]?.('x') : owner[name]?.('select 1')
    }
    return undefined
  } catch (error) {
    return error
  }
}

/** What whoever prints, awaits or compares it may do. */
async function expectHarmless($client: object): Promise<void> {
  expect(Reflect.get($client, 'then')).toBeUndefined()
  expect(Reflect.get($client, 'toJSON')).toBeUndefined()
  expect(await $client).toBe($client)
  expect(inspect($client, { depth: 5, showHidden: true })).not.toContain('postgres:')
  expect(() => JSON.stringify({ $client })).not.toThrow()
}

describeNeeding('postgresql', '$client by postgres.js', () => {
  const database = freshPostgres()
  const clientOf = async () => (await manager.getEngine(database.dburi as 'postgresql://h')).db.$client

  it.each([
    ['end'],
    ['close'],
    ['listen'],
    ['notify'],
    ['reserve'],
    ['subscribe'],
    ['largeObject'],
    ['json'],
    ['array'],
    ['file'],
    ['typed'],
    ['unsafe', 'cursor'],
    ['unsafe', 'forEach'],
    ['unsafe', 'simple'],
    ['unsafe', 'describe'],
  ])('refuses %s %s', async (...path) => {
    const error = await refusalOf(await clientOf(), ...path.filter(Boolean))

    expect(error).toBeInstanceOf(StatementError)
    expect(error).toMatchObject({
      code: 'INVALID_STATEMENT',
      message: expect.stringContaining(`${path.filter(Boolean).at(-1)}()`),
    })
  })

  it('refuses to be a template tag, also in a transaction', async () => {
    const $client = await clientOf()
    const tag = (client: unknown) => (client as (...args: unknown[]) => unknown)`select ${1}`
    const tagged = { code: 'INVALID_STATEMENT', message: expect.stringContaining('template tag') }

    expect(() => tag($client)).toThrow(expect.objectContaining(tagged))
    await expect($client.begin(async (tx) => tag(tx))).rejects.toMatchObject(tagged)
  })

  it('is harmless to look at', async () => {
    await expectHarmless(await clientOf())
  })

  it.each<[string, object]>([
    ['read only', { transaction_read_only: 'on', transaction_isolation: 'read committed' }],
    ['isolation level serializable', { transaction_read_only: 'off', transaction_isolation: 'serializable' }],
    [
      ' ISOLATION LEVEL  repeatable read, READ ONLY ',
      { transaction_read_only: 'on', transaction_isolation: 'repeatable read' },
    ],
    [
      'isolation level serializable read only deferrable',
      { transaction_isolation: 'serializable', transaction_deferrable: 'on' },
    ],
    ['read write not deferrable', { transaction_read_only: 'off', transaction_deferrable: 'off' }],
  ])('begins as it is told to: %j', async (options, expected) => {
    const $client = await clientOf()
    const settings = ['transaction_read_only', 'transaction_isolation', 'transaction_deferrable']
    const read = settings.map((name) => `current_setting('${name}') as ${name}`)

    const rows = await $client.begin(options, (tx) => tx.unsafe(`select ${read}`))

    expect(rows).toMatchObject([expected])
  })

  it.each(['read onlyx', 'read only; drop table t', 'isolation level none', 'transaction'])(
    'begins nothing when it does not know an option: %j',
    async (options) => {
      const $client = await clientOf()
      let ran = false

      const begun = $client.begin(options, async () => {
        ran = true
      })

      await expect(begun).rejects.toMatchObject({
        code: 'INVALID_STATEMENT',
        message: expect.stringContaining(JSON.stringify(options)),
      })
      expect(ran).toBe(false)
    },
  )

  it('takes for a savepoint the options that its transaction has', async () => {
    await using session = await manager.sessionFactory(database.dburi as 'postgresql://h')
    await session.begin({ isolationLevel: 'serializable', readOnly: true })

    const rows = await session.db.$client.begin('isolation level serializable read only', (outer) =>
      outer.savepoint((inner) => inner.unsafe('select 1 as one')),
    )

    expect(rows).toEqual([{ one: 1 }])
  })

  it('refuses options for what is but a savepoint', async () => {
    await using session = await manager.sessionFactory(database.dburi as 'postgresql://h')
    await session.db.$client.unsafe('select 1')

    const begun = session.db.$client.begin('read only', async () => {})

    await expect(begun).rejects.toMatchObject({
      code: 'INVALID_STATEMENT',
      message: expect.stringContaining('readOnly'),
    })
    expect(await session.db.$client.begin(async (tx) => tx.unsafe('select 1 as one'))).toEqual([{ one: 1 }])
  })

  it('keeps and undoes what is done in begin() and savepoint(), and awaits a list of queries', async () => {
    const $client = await clientOf()
    await $client.unsafe('create table if not exists kept (v int)')
    await $client.unsafe('truncate kept')

    const [one] = await $client.begin((tx) => [
      tx.unsafe<{ v: number }[]>('insert into kept values ($1) returning v', [1]),
      tx.unsafe('insert into kept values (2)'),
    ])
    await $client.begin(async (tx) => {
      const failing = tx.savepoint('named', async (inner) => {
        await inner.unsafe('insert into kept values (3)')
        throw new Error('undo')
      })
      await expect(failing).rejects.toThrow('undo')
      await tx.savepoint((inner) => inner.unsafe('insert into kept values (4)'))
    })

    expect(one).toEqual([{ v: 1 }])
    expect(await $client.unsafe('select v from kept order by v').values()).toEqual([[1], [2], [4]])
  })

  it('runs a statement once, however often it is awaited', async () => {
    const $client = await clientOf()
    await $client.unsafe('create table if not exists once (v int)')
    const query = $client.unsafe('insert into once values (1)')
    const failing = $client.unsafe('selec')

    await query
    await query.finally(() => {})

    expect(await failing.catch(() => 'caught')).toBe('caught')
    expect(await $client.unsafe('select v from once')).toEqual([{ v: 1 }])
  })

  it('says what a statement must be', async () => {
    const $client = await clientOf()

    for (const [sql, params, message] of [
      [{ sql: 'select 1' }, [], /text must be a string/],
      ['select $1', 'x', /parameters must be an array/],
    ]) {
      await expect($client.unsafe(sql as string, params as unknown[])).rejects.toMatchObject({
        code: 'INVALID_STATEMENT',
        message: expect.stringMatching(message as RegExp),
      })
    }
    await expect($client.begin('read only', undefined as never)).rejects.toMatchObject({
      code: 'INVALID_STATEMENT',
    })
  })
})

describeNeeding('mysql', '$client by mysql2', () => {
  const database = freshMysql()
  const clientOf = async () => (await manager.getEngine(database.dburi as 'mysql://h')).db.$client

  it.each(['promise', 'getConnection', 'end', 'on', 'format', 'escape', 'beginTransaction', 'prepare'])(
    'refuses %s()',
    async (name) => {
      const error = await refusalOf(await clientOf(), name)

      expect(error).toBeInstanceOf(StatementError)
      expect(error).toMatchObject({ message: expect.stringContaining(`$client.${name}()`) })
    },
  )

  it('refuses a callback, which would never be called', async () => {
    const $client = await clientOf()
    const query = $client.query as (...args: unknown[]) => Promise<unknown>

    await expect(query('select 1', () => {})).rejects.toMatchObject({ code: 'INVALID_STATEMENT' })
  })

  it('takes text or an object, and tells rows from a header', async () => {
    const $client = await clientOf()

    expect(await $client.query('select ? as n', [1])).toEqual([[{ n: 1 }], []])
    expect(await $client.execute({ sql: 'select ? as n', values: [2], rowsAsArray: true })).toEqual([
      [[2]],
      [],
    ])
    expect(await $client.query('do 0')).toMatchObject([{ affectedRows: 0 }, undefined])
  })

  it('is harmless to look at', async () => {
    await expectHarmless(await clientOf())
  })
})

it('refuses what PGlite has and $client has not', async () => {
  const { db } = await manager.getEngine('pglite:')

  for (const name of ['listen', 'close', 'sql', 'dumpDataDir', 'runExclusive']) {
    const error = await refusalOf(db.$client, name)
    expect(error).toBeInstanceOf(StatementError)
    expect(error).toMatchObject({ message: expect.stringContaining(`$client.${name}()`) })
  }
  await expectHarmless(db.$client)
  expect(await db.$client.transaction((tx) => tx.query('select $1::int as n', [1]))).toEqual([{ n: 1 }])
})

it('is harmless to look at on libSQL', async () => {
  const engine = await manager.getEngine(':memory:')

  await expectHarmless(engine.db.$client)
  expect(engine.db.$client).toBe(engine.db.$client)
})
