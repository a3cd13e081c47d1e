import { describe, expect, it } from 'vitest'
import { sanitized } from '../../src/opentelemetry/sanitize.ts'

describe('the text of a statement in a span', () => {
  it.each([
    ['select * from t where a = $1 and b = 42', 'select * from t where a = $1 and b = ?'],
    ["select 'a''b', E'it\\'s', $$body 'x'$$, $f$a$$b$f$", 'select ?, ?, ?, ?'],
    ['select "col1", "Odd 2"" name", t2.x from t2', 'select "col1", "Odd 2"" name", t2.x from t2'],
    ['select 1.5e3, 0xff, -7, a[1] -- secret\nfrom t /* secret */', 'select ?, ?, -?, a[?]  \nfrom t'],
    ["insert into t values ($1, 'a -- b')", 'insert into t values ($1, ?)'],
    ["select 'never ended", null],
    ['select $x$ never ended', null],
  ])('of PostgreSQL: %j is %j', (text, expected) => {
    expect(sanitized(text, 'postgresql')).toBe(expected)
  })

  it.each([
    [
      "select `a1`, \"text\", 'it\\'s' from `t 2` where x = ? # secret",
      'select `a1`, ?, ? from `t 2` where x = ?',
    ],
    ["select 'a\\\\', 5 limit 3", 'select ?, ? limit ?'],
    ['select @v1, t1.c2 from t1', 'select @v1, t1.c2 from t1'],
    ['select "never ended', null],
  ])('of MySQL: %j is %j', (text, expected) => {
    expect(sanitized(text, 'mysql')).toBe(expected)
  })

  it.each([
    [
      'select [a 1], `b2`, "c3", x\'ff\', ?1, :v2, @v3 from t',
      'select [a 1], `b2`, "c3", x?, ?1, :v2, @v3 from t',
    ],
    ['select 1 /* never ended', null],
  ])('of SQLite: %j is %j', (text, expected) => {
    expect(sanitized(text, 'sqlite')).toBe(expected)
  })
})
