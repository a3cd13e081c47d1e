import { SessionManager } from 'drizzle-celery'
import {
  Column,
  eq,
  is,
  isSQLWrapper,
  Param,
  Placeholder,
  SQL,
  StringChunk,
  Subquery,
  sql,
  Table,
} from 'drizzle-orm'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { loadQuicken } from '../../src/driver/quick-dialect.ts'
import { drizzleMajor } from '../fixtures/drizzle-major.ts'
import { loops } from '../fixtures/loops.ts'
import { call, type Make, query } from '../fixtures/queries/arbitrary-query.ts'
import { type World, worlds } from '../fixtures/queries/worlds.ts'

const quicken = await loadQuicken()

/** Drizzle 1.0 builds its own texts sooner. */
describe.runIf(drizzleMajor === '0.45').each(worlds)('the queries of $name', (world) => {
  it.each([undefined, 'snake_case', 'camelCase'] as const)(
    'are built as Drizzle does, in casing %s',
    (casing) => {
      const plain = world.handle(casing)
      const quick = world.handle(casing)
      quicken(dialectOf(quick))
      let built = 0

      fc.assert(
        fc.property(query, (make) => {
          const expected = outcomeOf(make, world, plain)
          if ('text' in expected) built++

          expect(outcomeOf(make, world, quick)).toEqual(expected)
        }),
        { numRuns: loops(500, 20_000, 150) },
      )

      // Two thirds of what is generated is a query, the rest a mistake that Drizzle refuses.
      expect(built).toBeGreaterThan(loops(125, 5_000, 37))
    },
  )
})

describe.runIf(drizzleMajor === '0.45')('a handle of Drizzle 0.45', () => {
  it.each([
    'postgresql://nobody@127.0.0.1:1/none',
    'postgresql+pg://nobody@127.0.0.1:1/none',
    'pglite://',
    'mysql://nobody@127.0.0.1:1/none',
    'sqlite://',
  ])('of %s builds its queries sooner: the installed version is known', async (dburi) => {
    await using manager = new SessionManager()

    const { db } = await manager.getEngine(dburi)

    expect(Object.hasOwn(dialectOf(db), 'sqlToQuery')).toBe(true)
  })

  it.each(worlds)('of $name takes what is no text in sql.raw() as Drizzle does', ({ handle }) => {
    const plain = dialectOf(handle(undefined))
    const quick = dialectOf(handle(undefined))
    quicken(quick)
    const raws = [undefined, null, 5].map((value) => call(sql, 'raw', value))

    expect(raws.map((raw) => call(quick, 'sqlToQuery', raw))).toEqual(
      raws.map((raw) => call(plain, 'sqlToQuery', raw)),
    )
  })

  it.each(worlds)('of $name builds selects that are handed on as Drizzle does', ({ handle, sources }) => {
    const plain = handle('snake_case')
    const quick = handle('snake_case')
    const dialects = [quick, ...worlds.map((other) => other.handle('camelCase'))].map(dialectOf)
    for (const dialect of dialects) quicken(dialect)
    const ways: Readonly<Record<string, (select: object) => object>> = {
      'to any dialect': (select) => select,
      'with something appended': (select) => call(select, 'append', sql` for update`),
      'as a parameter': (select) => sql`in ${sql.param(1, { mapToDriverValue: () => select })}`,
    }

    for (const [way, handOn] of Object.entries(ways)) {
      const handedOn = (db: object) =>
        handOn(call(call(call(db, 'select'), 'from', sources['things']), 'getSQL'))

      for (const rules of dialects) {
        const expected = call(rules, 'sqlToQuery', handedOn(plain))
        expect(call(rules, 'sqlToQuery', handedOn(quick)), way).toEqual(expected)
      }
    }
  })

  it.each(worlds)('of $name tells a select from others of the same table', ({ name, handle, sources }) => {
    const [plain, quick] = [handle(undefined), handle(undefined)]
    quicken(dialectOf(quick))
    const { things = {}, others = {} } = sources
    const { id, firstName, odd } = Object(things)
    const from = (db: object, fields?: object) => call(call(db, 'select', fields), 'from', things)
    const first = (db: object) => from(db, { one: id, two: firstName })
    const cte = (db: object) => call(call(db, '$with', 'cte'), 'as', from(db))
    const selects: Readonly<Record<string, (db: object) => object>> = {
      'by a condition': (db) => call(first(db), 'where', eq(id, 1)),
      'other columns': (db) => from(db, { one: id, two: odd }),
      'in another order': (db) => from(db, { two: firstName, one: id }),
      'a column more': (db) => from(db, { one: id, two: firstName, three: odd }),
      'a column less': (db) => from(db, { one: id }),
      'an expression': (db) => from(db, { one: id, two: sql`1` }),
      distinct: (db) => call(call(db, 'selectDistinct', { one: id, two: firstName }), 'from', things),
      joined: (db) => call(first(db), 'leftJoin', others, sql`true`),
      ordered: (db) => call(first(db), 'orderBy', id),
      grouped: (db) => call(first(db), 'groupBy', id),
      having: (db) => call(first(db), 'having', sql`true`),
      limited: (db) => call(first(db), 'limit', 1),
      'from an offset on': (db) => call(first(db), 'offset', 1),
      united: (db) => call(first(db), 'union', first(db)),
      'with a CTE': (db) =>
        call(call(call(db, 'with', cte(db)), 'select', { one: id, two: firstName }), 'from', things),
      ...(name !== 'sqlite' && { locking: (db: object) => call(first(db), 'for', 'update') }),
      ...(name === 'mysql' &&
        Object.fromEntries(
          ['useIndex', 'forceIndex', 'ignoreIndex'].map((hint) => [
            hint,
            (db: object) =>
              call(call(db, 'select', { one: id, two: firstName }), 'from', things, { [hint]: 'by_id' }),
          ]),
        )),
    }
    const textOf = (db: object, select: (db: object) => object) =>
      call(dialectOf(db), 'sqlToQuery', call(select(db), 'getSQL'))
    for (const _ of [1, 2]) textOf(quick, first)

    for (const [which, select] of Object.entries(selects)) {
      expect(textOf(quick, select), which).toEqual(textOf(plain, select))
      expect(textOf(quick, first), `after one ${which}`).toEqual(textOf(plain, first))
    }
  })

  it.each(worlds)('of $name sees a table that got another schema', ({ handle, sources }) => {
    const [plain, quick] = [handle(undefined), handle(undefined)]
    quicken(dialectOf(quick))
    const table = Object.create(sources['things'] ?? null)
    const textOf = (db: object) =>
      call(dialectOf(db), 'sqlToQuery', call(call(call(db, 'select'), 'from', table), 'getSQL'))

    for (const schema of ['one', 'one', 'two', undefined]) {
      table[Symbol.for('drizzle:Schema')] = schema
      expect(textOf(quick)).toEqual(textOf(plain))
    }
  })

  it.each(worlds)('of $name leaves SQL that writes itself in a way of its own to it', ({ handle }) => {
    const db = handle(undefined)
    quicken(dialectOf(db))
    const own = Object.assign(sql`select 1`, { toQuery: () => ({ sql: 'its own', params: [] }) })

    expect(call(dialectOf(db), 'sqlToQuery', own)).toEqual({ sql: 'its own', params: [] })
  })
})

it.runIf(drizzleMajor === '1.0').each(worlds)(
  'a dialect of Drizzle 1.0 is left as it is: $name',
  ({ handle }) => {
    const dialect = dialectOf(handle(undefined))
    const before = Object.keys(dialect)

    quicken(dialect)

    expect(Object.keys(dialect)).toEqual(before)
  },
)

function dialectOf(handle: object): object {
  return Reflect.get(handle, 'dialect')
}

/** What becomes of a query on a handle: its text, its parameters and what it was built of, or why there is none. */
function outcomeOf(make: Make, world: World, handle: object): object {
  try {
    const made = make(world, handle)
    const sequel = call(made, 'getSQL')
    const text = call(dialectOf(handle), 'sqlToQuery', sequel)
    return { text: described(text), chunks: shapeOf(sequel), asUsersSeeIt: described(shownOf(made)) }
  } catch (error) {
    return { error: String(error) }
  }
}

function shownOf(made: unknown): unknown {
  return Object(made).toSQL === undefined ? null : call(made, 'toSQL')
}

/** Some parameters lead to columns, which know all of their tables. */
function described(query: unknown): unknown {
  if (query === null) return null
  const { params, ...rest } = query as { readonly params: readonly unknown[] }
  return { ...rest, params: params.map(shapeOf) }
}

/** An alias makes a new column for whoever asks. */
function shapeOf(chunk: unknown): unknown {
  if (is(chunk, StringChunk)) return chunk.value
  if (is(chunk, SQL))
    return {
      chunks: chunk.queryChunks.map(shapeOf),
      inline: Reflect.get(chunk, 'shouldInlineParams'),
      tables: Reflect.get(chunk, 'usedTables'),
    }
  if (is(chunk, Column))
    return `column ${chunk.name} of ${Reflect.get(Reflect.get(chunk, 'table'), Symbol.for('drizzle:Name'))}`
  if (is(chunk, Table)) return `table ${Reflect.get(chunk, Symbol.for('drizzle:Name'))}`
  if (is(chunk, Subquery)) return { subquery: chunk._.alias, of: shapeOf(chunk._.sql) }
  if (is(chunk, Param)) return { value: shapeOf(chunk.value), encoder: shapeOf(chunk.encoder) }
  if (is(chunk, Placeholder)) return { placeholder: Reflect.get(chunk, 'name') }
  if (Array.isArray(chunk)) return chunk.map(shapeOf)
  return isSQLWrapper(chunk) ? Object(Object(chunk).constructor).name : chunk
}
