import { describe, expect, it } from 'vitest'
import { mysqlTraits } from '../../../src/adapters/mysql2/statement.ts'

describe('what a MySQL statement does beyond its rows', () => {
  it.each([
    'begin',
    ' /* x */ COMMIT',
    'start transaction read only',
    'ROLLBACK',
    'rollback work',
    'xa start "x"',
    'set autocommit = 0',
    'set @@session.autocommit=1',
    '/*! commit */',
    '/*!50000 commit */',
    '/*M!100300 rollback */',
    '-- a comment\ncommit',
    '# a comment\ncommit',
    'select 1; commit',
    "select 'a\\'; b'; commit",
  ])('%s controls the transaction', (sql) => {
    expect(mysqlTraits(sql).controlsTransaction).toBe(true)
  })

  it.each([
    'select 1',
    "select 'x; commit'",
    'select "x; commit"',
    'select `; commit`',
    'select 1 /* ; commit */',
    'rollback to savepoint a',
    'savepoint a',
    'create procedure p() begin insert into t values (1); commit; end',
    'insert into t values (1) -- ; commit',
  ])('%s does not', (sql) => {
    expect(mysqlTraits(sql).controlsTransaction).toBe(false)
  })

  it.each([
    'create table t (a int)',
    'create or replace view v as select 1',
    'ALTER TABLE t add b int',
    'drop table t',
    'truncate t',
    'rename table a to b',
    'lock tables t read',
    'grant select on t to u',
    'analyze table t',
    'create sequence s',
    'check table t',
    'backup stage start',
    'create temporary sequence s',
    '/*! create table t (a int) */',
  ])('%s commits', (sql) => {
    expect(mysqlTraits(sql).commits).toBe(true)
  })

  it.each([
    'create  temporary\ntable t (a int)',
    'create or replace temporary table t (a int)',
    'drop  temporary table t',
    'analyze select 1',
    'create temporary table t (a int)',
    'drop temporary table t',
    'insert into t values (1)',
    'select 1',
  ])('%s does not commit', (sql) => {
    expect(mysqlTraits(sql).commits).toBe(false)
  })

  it.each([
    'set @a = 1',
    'set transaction isolation level serializable',
    'set names latin1',
    'use other',
    'create temporary table t (a int)',
    'select get_lock("x", 1)',
    'select @a := 1',
    'select @`a` := 1',
    'if 1 then set @x = 5; end if',
    'select a into @b from t',
    'lock tables t read',
    'prepare s from "select 1"',
    'call p()',
    'handler t open',
  ])('%s leaves something on the connection', (sql) => {
    expect(mysqlTraits(sql).taints).toBe(true)
  })

  it.each(['select 1', 'insert into t values (1)', 'create table t (a int)', "select 'set @a = 1'"])(
    '%s leaves nothing',
    (sql) => {
      expect(mysqlTraits(sql).taints).toBe(false)
    },
  )
})
