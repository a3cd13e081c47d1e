import { describe, expect, it } from 'vitest'
import { traitsOf } from '../../src/driver/statement.ts'

describe('traitsOf', () => {
  it.each([
    'begin',
    'START TRANSACTION read only',
    '  -- now\n commit',
    '/* a */ rollback',
    'end',
    "select E'it\\'s'; commit; select 'x'",
    '/* a /* b */ c */ commit',
    'select 1 -- x\r; commit',
    "select 'a;b'; rollback; select 1",
  ])('sees that %j controls the transaction', (sql) => {
    expect(traitsOf(sql).controlsTransaction).toBe(true)
  })

  it.each([
    'rollback to savepoint a',
    'rollback work to a',
    "select 'commit; rollback'",
    'select "commit" from "begin"',
    'do $$ begin perform 1; end $$',
    'create function f() returns int as $b1$ begin return 1; end $b1$ language plpgsql',
    'create function f() returns int begin atomic select 1; end',
    'create trigger t after insert on a begin delete from b; end',
    "select E'it\\'s', 'x; commit; y'",
  ])('lets %j pass', (sql) => {
    expect(traitsOf(sql).controlsTransaction).toBe(false)
  })

  it.each([
    'set search_path to x',
    'create temp table t (id int)',
    'create or replace temporary view v as select 1',
    "select set_config('a', 'b', false), f(1, true)",
    'select pg_advisory_lock(1)',
    'listen x',
    'select 1; reset all',
    'pragma foreign_keys = off',
    'create table pg_temp.t (id int)',
    'CREATE UNLOGGED TABLE "pg_temp"./* x */t (id int)',
    'create function pg_temp.f() returns int language sql as $$ select 1 $$',
    'create sequence pg_temp_3.s',
    'select 1 as a into pg_temp.t',
    'alter table t set schema pg_temp',
    'set local search_path to pg_temp, public',
    `set local search_path to 'pg_temp', public`,
    `select set_config('search_path', '"pg_temp",public', true)`,
    'create temp table t on commit preserve rows as select 1',
    'create temp view v as select 1',
    'create temp table t (id int) on commit drop; create temp table u (id int)',
    'create table temp.t (id int)',
    'create view "temp" . v as select 1',
    'do $$ begin set search_path to x; end $$',
    'call a_procedure()',
  ])('sees that %j leaves something behind', (sql) => {
    expect(traitsOf(sql).taints).toBe(true)
  })

  it.each([
    'set local search_path to x',
    'set transaction read only',
    "update t set a = 1 where b = 'set x'",
    'create temp table t (id int) on commit drop',
    'create local temporary table if not exists t (id int)\n on  commit\n drop',
    'create temp table t on commit drop as select 1',
    'create table pg_temp.t (id int) on commit drop',
    "select relname from pg_class c join pg_namespace n on true where nspname not like 'pg_temp%'",
    "select * from pg_namespace where nspname !~ '^pg_temp_' and oid <> pg_my_temp_schema()",
    'insert into "temp" (a) values (1)',
    'select * from "temp"."t"',
    "select set_config('a', 'b', true)",
    'select pg_advisory_xact_lock(1)',
  ])('sees that %j leaves nothing behind', (sql) => {
    expect(traitsOf(sql).taints).toBe(false)
  })
})
