import { describe, expect, it } from 'vitest'
import { postgresTraits } from '../../../src/adapters/postgresql/statement.ts'

describe('postgresTraits', () => {
  it.each([
    'alter table t add a int',
    '/* now */ DROP type t',
    'select 1; create table t (a int)',
    'do $$ begin execute f(); end $$',
    'call migrate()',
    'execute mine',
    'select 1 as a into t',
    'deallocate all',
    'comment on table t is null',
  ])('sees that %j may change a schema', (sql) => {
    expect(postgresTraits(sql).changesSchema).toBe(true)
  })

  it.each([
    'select a from t for update',
    '(select 1) union select 2',
    'insert into t values (1)',
    'with new as (insert into t values (1) returning a) select * from new',
    'truncate t',
    'set local search_path to x',
    'savepoint a',
    `select 'create table t (a int)'`,
    '',
  ])('sees that %j changes none', (sql) => {
    expect(postgresTraits(sql).changesSchema).toBe(false)
  })

  it.each([
    'select migrate()',
    'select "Migrate"()',
    'select app.migrate($1)',
    'select * from app.migrate()',
    'select migrate(a) from generate_series(1, 2) a',
    'select "a"."b" ($1)',
  ])('sees that %j calls a function and reads no table', (sql) => {
    expect(postgresTraits(sql).callsFunction).toBe(true)
  })

  it.each([
    'select 1',
    'select now()',
    'select count(*) from "users"',
    'select lower("a") from "app"."users" where f("b")',
    'select pg_catalog.pg_notify($1, $2)',
    'insert into t values (f(1))',
  ])('does not see that in %j', (sql) => {
    expect(postgresTraits(sql).callsFunction).toBe(false)
  })

  it.each([
    'set search_path to x',
    'SET LOCAL search_path TO x',
    `set schema 'x'`,
    'set local role x',
    'reset all',
    `select set_config('search_path', $1, true)`,
    'select set_config($1, $2, true)',
  ])('sees that %j moves the search path', (sql) => {
    expect(postgresTraits(sql).movesSearchPath).toBe(true)
  })

  it.each([`select set_config('app.tenant', $1, true)`, 'set local lock_timeout = 1', `select 'set role x'`])(
    'sees that %j leaves the search path where it is',
    (sql) => {
      expect(postgresTraits(sql).movesSearchPath).toBe(false)
    },
  )
})
