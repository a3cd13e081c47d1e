/** Errors of real databases that repeat a parameter: as it was, cut, in other letters, or within something else. */
import { causes, SessionManager } from 'drizzle-celery'
import { type SQL, sql } from 'drizzle-orm'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createMysql, createPostgres, describeNeeding } from '../fixtures/servers.ts'
import { failure } from './support.ts'

/** Each of its words says that it must not be seen. */
const SECRET = 'canary-Medical-Record'
const LONG = `${SECRET}-${'Zyxwvutsrq'.repeat(20)}`
const NUMBER = 815471117
const DATE = new Date('1967-03-04T05:06:07.089Z')

/** All that is five characters long in what was bound, in small letters. */
const PIECES = new Set(
  [LONG, String(NUMBER), '1967-03-04', '05:06:07', '99999999999']
    .map((text) => text.toLowerCase())
    .flatMap((text) => Array.from({ length: text.length - 4 }, (_, at) => text.slice(at, at + 5))),
)

function leaksIn(error: unknown): string[] {
  const texts = causes(error).flatMap((cause) =>
    cause instanceof Error
      ? [cause.message, cause.stack ?? '', ...Object.values(cause).map(String)]
      : [String(cause)],
  )
  return texts.flatMap((text) => [...PIECES].filter((piece) => text.toLowerCase().includes(piece)))
}

interface Runner {
  run(query: SQL): Promise<unknown>
}

/** Runs statements that fail; gives what the database said of each that did. */
async function saidOf(
  runner: Runner,
  statements: Readonly<Record<string, SQL>>,
): Promise<Map<string, string>> {
  const said = new Map<string, string>()
  for (const [name, statement] of Object.entries(statements)) {
    const error = await failure(runner.run(statement))
    if (error === undefined) continue
    expect({ name, leaks: leaksIn(error) }).toEqual({ name, leaks: [] })
    const last = causes(error).at(-1)
    said.set(name, last instanceof Error ? last.message : String(last))
  }
  return said
}

const POSTGRESQL: Readonly<Record<string, SQL>> = {
  'raise left and upper': sql`insert into c values (${LONG}, ${NUMBER})`,
  'raise short': sql`insert into c values (${SECRET}, ${BigInt(NUMBER)})`,
  'raise as violation': sql`insert into d values (${LONG})`,
  regclass: sql`select ${SECRET}::regclass`,
  'regclass cut': sql`select ${LONG}::regclass`,
  regtype: sql`select ${'CanaryMedical'}::regtype`,
  regproc: sql`select ${'CanaryMedical'}::regproc`,
  regcollation: sql`select ${'CanaryMedical'}::regcollation`,
  nextval: sql`select nextval(${'CanaryMedical'})`,
  view: sql`select pg_get_viewdef(${'CanaryMedical'}::text)`,
  serial: sql`select pg_get_serial_sequence(${'CanaryMedical'}, ${'canary'})`,
  dynamic: sql`select dynamic(${'CanaryMedical'})`,
  quoted: sql`select ${`a"b ${SECRET}`}::int`,
  int: sql`select ${LONG}::int`,
  'int range': sql`select ${'99999999999'}::int`,
  bigint: sql`select ${815471117815471117815471117n}::bigint`,
  part: sql`select substr(${LONG}, 1, 20)::int`,
  'later part': sql`select substr(${LONG}, 3, 5)::int`,
  array: sql`select ${`{1,${SECRET},2}`}::int[]`,
  range: sql`select ${'[canary,Medical)'}::int4range`,
  json: sql`select ${`{"${SECRET}": }`}::json`,
  'set role': sql`select set_config('role', ${SECRET}, false)`,
  file: sql`select pg_read_file(${`/${SECRET}/path`})`,
  privilege: sql`select has_table_privilege(${SECRET}, 'c', 'select')`,
  'large object': sql`select lo_get(${NUMBER})`,
  to_number: sql`select to_number(${'canary'}, '999')`,
  date: sql`select ${`1967-03-99 ${SECRET}`}::date`,
  timestamp: sql`select ${DATE}::int`,
  date_trunc: sql`select date_trunc(${'canary'}, now())`,
  zone: sql`select now() at time zone ${'Canary/Medical'}`,
  format: sql`select format(${`%${SECRET}`})`,
  base64: sql`select decode(${`${SECRET}!`}, 'base64')`,
  encoding: sql`select decode('aa', ${'canary'})`,
  point: sql`select ${'(canary,1)'}::point`,
  xml: sql`select ${'<a>canary</b>'}::xml`,
  tsquery: sql`select to_tsquery(${'canary & & Medical'})`,
  jsonpath: sql`select ${'$.canary['}::jsonpath`,
  oid: sql`select ${'canary'}::oid`,
  money: sql`select ${'canary'}::money`,
  inet: sql`select ${'canary'}::inet`,
  enum: sql`select ${SECRET}::mood`,
  regexp: sql`select 'a' ~ ${`(${SECRET}`}`,
  'too long': sql`insert into e (short) values (${LONG})`,
  duplicate: sql`insert into e (name) values (${SECRET})`,
  check: sql`insert into e (name, age) values (${LONG}, ${-NUMBER})`,
  'foreign key': sql`insert into e (name, parent) values (${LONG}, ${NUMBER})`,
  'unknown column': sql`select nme from e where name = ${LONG}`,
  'unknown table': sql`select * from no_such_table where name = ${LONG}`,
  types: sql`select 1 + ${new Uint8Array(Buffer.from(SECRET))}`,
  bytes: sql`select convert_from(${new Uint8Array(Buffer.from(SECRET))}, 'utf8')::int`,
}

const POSTGRESQL_SETUP = [
  'create table c (a text, n bigint unique)',
  `create function boom() returns trigger language plpgsql as $$ begin
     raise exception 'patient % has number %, %', left(new.a, 30), new.n, upper(new.a); end $$`,
  'create trigger b before insert on c for each row execute function boom()',
  'create table d (a text)',
  `create function bang() returns trigger language plpgsql as $$ begin
     raise exception 'no room for %', upper(left(new.a, 20)) using errcode = '23514'; end $$`,
  'create trigger b before insert on d for each row execute function bang()',
  `create function dynamic(a text) returns void language plpgsql as $$ begin
     execute 'select * from ' || lower(a) || '_2'; end $$`,
  `create type mood as enum ('happy')`,
  `create table e (name text unique, short varchar(3), age bigint constraint e_grown check (age > 0),
     parent bigint constraint e_parent references c (n))`,
  `insert into e (name) values ('${SECRET}')`,
]

/** What has to stay, for whoever reads it. */
const POSTGRESQL_STAYS: Readonly<Record<string, string>> = {
  duplicate: 'duplicate key value violates unique constraint "e_name_key"',
  check: 'new row for relation "e" violates check constraint "e_grown"',
  'foreign key': 'insert or update on table "e" violates foreign key constraint "e_parent"',
  'too long': 'value too long for type character varying(3)',
  'unknown column': 'column "nme" does not exist',
  'unknown table': 'relation "no_such_table" does not exist',
  int: 'invalid input syntax for type integer: "[hidden]"',
  regclass: 'relation "[hidden]" does not exist',
  'raise left and upper': 'patient [hidden] has number [hidden], [hidden]',
}

function postgresqlSuite(open: (manager: SessionManager) => Promise<Runner>): void {
  const manager = new SessionManager({ prepare: 'none' })
  let runner: Runner
  beforeAll(async () => {
    runner = await open(manager)
    for (const text of POSTGRESQL_SETUP) await runner.run(sql.raw(text))
  })
  afterAll(() => manager.dispose({ grace: 0 }))

  it('shows no part of a parameter, and keeps its own words', async () => {
    const said = await saidOf(runner, POSTGRESQL)

    expect(said.size).toBeGreaterThan(45)
    expect(Object.fromEntries(Object.keys(POSTGRESQL_STAYS).map((name) => [name, said.get(name)]))).toEqual(
      POSTGRESQL_STAYS,
    )
  })
}

describeNeeding('postgresql', 'an error of PostgreSQL', () => {
  let database: Awaited<ReturnType<typeof createPostgres>>
  afterAll(() => database.drop())
  postgresqlSuite(async (manager) => {
    database = await createPostgres()
    const { db } = await manager.getEngine(database.dburi as 'postgresql://')
    return { run: async (query) => db.execute(query) }
  })
})

describe('an error of PGlite', () => {
  postgresqlSuite(async (manager) => {
    const { db } = await manager.getEngine('pglite:')
    return { run: async (query) => db.execute(query) }
  })
})

describeNeeding('mysql', 'an error of MySQL', () => {
  const manager = new SessionManager({ prepare: 'none' })
  let database: Awaited<ReturnType<typeof createMysql>>
  let runner: Runner
  beforeAll(async () => {
    database = await createMysql()
    const { db } = await manager.getEngine(database.dburi as 'mysql://')
    runner = { run: async (query) => db.execute(query) }
    for (const text of [
      `create table c (a varchar(250), n bigint, d datetime(3), b varbinary(100), u varchar(50) charset latin1,
         s varchar(3), unique(a), unique(n), unique d_key (d), unique(b), unique combo (n, d))`,
      'create table r (a varchar(250))',
      `create trigger b before insert on r for each row begin
         declare said text default concat('patient ', left(new.a, 30), ' ', upper(new.a));
         signal sqlstate '45000' set message_text = said; end`,
      `create procedure p (in a varchar(250)) begin
         set @s = concat('select * from ', replace(lower(a), '-', '_'), '_2'); prepare s from @s; execute s; end`,
      'create table e (parent bigint, constraint e_parent foreign key (parent) references c (n))',
    ]) {
      await runner.run(sql.raw(text))
    }
  })
  afterAll(async () => {
    await manager.dispose({ grace: 0 })
    await database.drop()
  })

  it('shows no part of a parameter, and keeps its own words', async () => {
    await runner.run(sql`insert into c (a) values (${SECRET})`)
    await runner.run(sql`insert into c (n) values (${NUMBER})`)
    await runner.run(sql`insert into c (d) values (${DATE})`)
    await runner.run(sql`insert into c (b) values (${Buffer.from(SECRET)})`)
    const said = await saidOf(runner, {
      'dup text': sql`insert into c (a) values (${SECRET})`,
      'dup number': sql`insert into c (n) values (${NUMBER})`,
      'dup date': sql`insert into c (d) values (${DATE})`,
      'dup binary': sql`insert into c (b) values (${Buffer.from(SECRET)})`,
      'incorrect string': sql`insert into c (u) values (${`${SECRET} 密码 😀`})`,
      'incorrect int': sql`insert into c (n) values (${LONG})`,
      'incorrect datetime': sql`insert into c (d) values (${LONG})`,
      'too long': sql`insert into c (s) values (${LONG})`,
      xpath: sql`select updatexml('<a/>', concat('~', lower(${SECRET})), 1)`,
      overflow: sql`select ${9223372036854775807n} + ${NUMBER}`,
      regexp: sql`select 'a' regexp ${`(${SECRET}`}`,
      signal: sql`insert into r values (${LONG})`,
      dynamic: sql`call p(${SECRET})`,
      'foreign key': sql`insert into e values (${NUMBER + 1})`,
      'unknown column': sql`select nme from c where a = ${LONG}`,
      'time zone': sql`select convert_tz(now(), ${SECRET}, 'UTC'), cast(${LONG} as date) + no_such_function(1)`,
    })

    expect(said.size).toBeGreaterThan(12)
    expect(said.get('dup date')).toBe("Duplicate entry '[hidden]' for key 'd_key'")
    expect(said.get('too long')).toBe("Data too long for column 's' at row 1")
    expect(said.get('signal')).toBe('patient [hidden]')
    expect(said.get('unknown column')).toMatch(/^Unknown column 'nme' in '(?:SELECT|field list)'$/)
    expect(said.get('foreign key')).toContain('a foreign key constraint fails')
    expect(said.get('foreign key')).toContain('`e_parent`')
  })
})

describe('an error of SQLite', () => {
  const manager = new SessionManager({ prepare: 'none' })
  afterAll(() => manager.dispose({ grace: 0 }))

  it('shows no part of a parameter, and keeps its own words', async () => {
    const { db } = await manager.getEngine(':memory:')
    const runner: Runner = { run: async (query) => db.run(query) }
    for (const text of [
      'create table users (canary_name text unique, age integer check (age > 0))',
      'create table r (a text)',
      `create trigger b before insert on r begin select raise(abort, 'not for the likes of you'); end`,
      'create virtual table f using fts5(a)',
    ]) {
      await runner.run(sql.raw(text))
    }
    await runner.run(sql`insert into users values (${SECRET}, 1)`)
    const said = await saidOf(runner, {
      'json path': sql`select json_extract('{}', ${`bad${LONG}`})`,
      json: sql`select json(${LONG})`,
      'fts column': sql`select * from f where f match ${`${'Canary'}: x`}`,
      'fts syntax': sql`select * from f where f match ${`"${SECRET}`}`,
      'fts word': sql`select * from f where f match ${'a ^ Canary ^ Medical'}`,
      raise: sql`insert into r values (${LONG})`,
      check: sql`insert into users values (${LONG}, ${-NUMBER})`,
      'unknown column': sql`select nme from users where age = ${LONG}`,
    })
    const duplicate = await failure(
      db.run(sql`insert into users values (${'canary_name'}, 1), (${'canary_name'}, 2)`),
    )

    expect(said.size).toBeGreaterThan(5)
    expect(said.get('raise')).toBe('not for the likes of you')
    expect(said.get('check')).toBe('CHECK constraint failed: age > 0')
    expect(said.get('unknown column')).toContain('no such column: nme')
    // A name of the table, which is no part of the parameter even though it looks like it.
    expect(causes(duplicate).map((cause) => (cause instanceof Error ? cause.message : ''))).toContain(
      'UNIQUE constraint failed: users.canary_name',
    )
  })
})
