import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { inspect } from 'node:util'
import fc from 'fast-check'
import { describe, expect, it, vi } from 'vitest'
import { mysqlOptions } from '../../src/adapters/mysql2/options.ts'
import { postgresOptions } from '../../src/adapters/postgresql/options.ts'
import { dburiKey } from '../../src/dburi/key.ts'
import { parseDburi } from '../../src/dburi/parse.ts'
import { redactDburi } from '../../src/dburi/redact.ts'
import { SCHEMES } from '../../src/dburi/schemes.ts'
import { withOptions } from '../../src/dburi/secrets.ts'
import type { Dburi } from '../../src/dburi/types.ts'
import { DburiError, OptionError } from '../../src/errors.ts'
import { takePoolOptions } from '../../src/options/pool.ts'
import { loops } from '../fixtures/loops.ts'

interface Vector {
  readonly id: string
  readonly uri: string
  readonly error?: string
  readonly expect?: Readonly<Record<string, unknown>>
}

// Copied from the study of SQLAlchemy, libpq, @libsql/client and the clouds: each line was run through the real parsers.
const vectors: readonly Vector[] = JSON.parse(
  readFileSync(new URL('../fixtures/dburi-vectors.json', import.meta.url), 'utf8'),
).vectors

describe('the vectors', () => {
  it.each(vectors.filter((vector) => vector.error === undefined))('$id reads $uri', (vector) => {
    const { remote_scheme, ...rest } = vector.expect ?? {}

    const dburi = parseDburi(vector.uri)

    expect(plain(dburi)).toStrictEqual(
      remote_scheme === undefined ? rest : { ...rest, remoteScheme: remote_scheme },
    )
  })

  it.each(vectors.filter((vector) => vector.error !== undefined))('$id refuses $uri', ({ uri, error }) => {
    expect(errorOf(uri).code).toBe(error)
  })
})

describe('what is given for a dburi', () => {
  it.each<[unknown, string, RegExp]>([
    [undefined, 'EMPTY', /is undefined \(is DATABASE_URL set\?\)/],
    [null, 'EMPTY', /is null \(is DATABASE_URL set\?\)/],
    ['', 'EMPTY', /is empty/],
    [42, 'UNPARSABLE', /is a number/],
    [['postgresql://h'], 'UNPARSABLE', /is an array/],
    [{ url: 'postgresql://h' }, 'UNPARSABLE', /is an object/],
    [new URL('file:results.db'), 'UNPARSABLE', /as in 'file:results.db'/],
    [new URL('file:///tmp/results.db'), 'UNPARSABLE', /fileURLToPath/],
  ])('%s is refused by what it is', (given, code, message) => {
    const error = errorOf(given as string)

    expect([error.code, error.part]).toEqual([code, 'dburi'])
    expect(error.message).toMatch(message)
  })

  it('is taken as a URL', () => {
    const url = 'postgresql://u:p%40ss@h:5433/db?sslmode=require'

    expect(plain(parseDburi(new URL(url)))).toStrictEqual(plain(parseDburi(url)))
    expect(redactDburi(new URL(url))).toBe(redactDburi(url))
  })
})

describe('parseDburi', () => {
  it.each<[string, Partial<Dburi>]>([
    // Schemes
    ['  postgresql://h/db\n', { host: 'h', database: 'db' }],
    ['PostgreSQL+psycopg2://h/db', { driver: 'postgres-js', dbapi: 'psycopg2' }],
    ['DB+POSTGRES://h', { dialect: 'postgresql', dbapi: null }],
    ['postgresql+psycopg_async://h', { driver: 'postgres-js', dbapi: 'psycopg_async' }],
    ['postgresql+pg://h/db', { driver: 'pg', dialect: 'postgresql' }],
    ['db+postgres+PG://h/db', { driver: 'pg' }],
    ['cockroachdb://root@h:26257/defaultdb', { driver: 'postgres-js', port: 26_257, flavor: 'cockroachdb' }],
    ['mariadb://h/db', { dialect: 'mysql', flavor: 'mariadb' }],
    ['db+:memory:', { database: ':memory:', memory: true }],
    // User and password
    ['postgresql://u:p@ss@h/db', { user: 'u', password: 'p@ss', host: 'h' }],
    ['postgresql://u:p@ss,word@h/db', { password: 'p@ss,word', host: 'h' }],
    ['postgresql://u@server:p@h/db', { user: 'u@server', password: 'p', host: 'h' }],
    ['postgresql://user%40server:p@h/db', { user: 'user@server' }],
    ['postgresql://u:100%pure@h/db', { password: '100%pure' }],
    ['postgresql://u:%ff%41@h/db', { password: '\uFFFDA' }],
    ['postgresql://u:%EF%BB%BFx@h/db', { password: '\uFEFFx' }],
    ['postgresql://u:?x@h/db?a=1', { password: '?x', database: 'db', options: { a: '1' } }],
    ['postgresql://u:#x@h/db', { password: '#x', database: 'db' }],
    ['postgresql://u:/x@h/db', { password: '/x', host: 'h' }],
    ['postgresql://u:a/b@c@h/db', { password: 'a/b@c', host: 'h' }],
    ['postgresql://u:a\\b@h/db', { password: 'a\\b' }],
    ['postgresql://@h/db', { user: null, password: null, host: 'h' }],
    ['postgresql://u:p@', { user: 'u', password: 'p', host: null }],
    ['postgresql://u:p@h/db?application_name=a@b', { host: 'h', options: { application_name: 'a@b' } }],
    ['postgresql://h:5432/db?application_name=a@b', { host: 'h', port: 5432, user: null }],
    ['postgresql://[::2]:2/db?user=a@b', { user: 'a@b', host: '::2', port: 2 }],
    // Database
    ['postgresql://h/my%20db', { database: 'my db' }],
    ['postgresql://h/a%40b%3Fc', { database: 'a@b?c' }],
    ['postgresql://h/a#b', { database: 'a#b' }],
    ['postgresql://h/', { database: null }],
    ['postgresql://h?a=1', { database: null, options: { a: '1' } }],
    // Hosts
    ['postgresql://[::1]:5433/db', { host: '::1', port: 5433 }],
    ['postgresql://[fe80::1%25eth0]/db', { host: 'fe80::1%eth0' }],
    ['postgresql://:5433/db', { host: null, port: 5433 }],
    ['postgresql://h:0005433/db', { port: 5433 }],
    ['postgresql://bücher.example/db', { host: 'bücher.example' }],
    [
      'postgresql://h1:1,h2/db',
      {
        host: 'h1',
        port: 1,
        hosts: [
          { host: 'h1', port: 1 },
          { host: 'h2', port: null },
        ],
      },
    ],
    [
      'postgresql://u:p@h1,h2/db?port=7',
      {
        port: 7,
        hosts: [
          { host: 'h1', port: 7 },
          { host: 'h2', port: 7 },
        ],
      },
    ],
    [
      'postgresql:///db?host=[::1]:1&host=::2',
      {
        host: '::1',
        hosts: [
          { host: '::1', port: 1 },
          { host: '::2', port: null },
        ],
      },
    ],
    [
      'postgresql://h1:1,h2:2/db?host=h3,h4',
      {
        hosts: [
          { host: 'h3', port: 1 },
          { host: 'h4', port: 2 },
        ],
      },
    ],
    // Sockets
    ['postgresql://%2Fvar%2Frun:5433/db', { host: null, port: 5433, socket: '/var/run', database: 'db' }],
    ['postgresql://u@%2fcloudsql%2Fp:r:i/db', { socket: '/cloudsql/p:r:i', port: null }],
    ['postgresql://u:p@/db?host=/cloudsql/p:r:i', { host: null, socket: '/cloudsql/p:r:i', port: null }],
    ['postgresql://h:5433/db?host=/run', { host: null, socket: '/run', port: 5433 }],
    [
      'mysql+pymysql://u:p@localhost/db?unix_socket=/run/my.sock',
      { host: 'localhost', socket: '/run/my.sock', options: { unix_socket: '/run/my.sock' } },
    ],
    // libpq's arguments speak for PostgreSQL only
    ['postgresql://u:p@h/db?password=q%2B&dbname=x', { password: 'q+', database: 'x' }],
    ['postgresql://h/db?user=a&user=b', { user: 'b', options: { user: ['a', 'b'] } }],
    ['mysql://u:p@h/db?user=x&host=y', { user: 'u', host: 'h' }],
    // Options
    ['postgresql://h/db?a=b+c%2B&%61b=1', { options: { a: 'b c+', ab: '1' } }],
    ['postgresql://h/db?a&b=&=c&d==e?f', { options: { '': 'c', d: '=e?f' } }],
    // SQLite
    ['sqlite:///', { database: null, memory: true }],
    ['sqlite:///:memory:', { database: ':memory:', memory: true }],
    ['sqlite://?timeout=5', { database: null, memory: true, options: { timeout: '5' } }],
    ['sqlite:///C:\\data\\x.db', { database: 'C:\\data\\x.db' }],
    ['sqlite:///a%20b#c.db', { database: 'a b#c.db' }],
    ['sqlite:///file::memory:?cache=shared&uri=true', { database: 'file::memory:', memory: true }],
    ['sqlite:////abs/x@y.db', { database: '/abs/x@y.db' }],
    // libSQL
    ['file://localhost/abs.db', { database: '/abs.db' }],
    ['file:C:\\me%40here\\x.db', { database: 'C:\\me@here\\x.db' }],
    ['file:memdb?mode=memory&cache=shared', { database: 'memdb', memory: true }],
    ['file:a%23b%3Fc.db', { database: 'a#b?c.db' }],
    [':memory:?cache=shared', { database: ':memory:', memory: true, options: { cache: 'shared' } }],
    ['libsql://db-org.turso.io/?authToken=e.y-J_', { remoteScheme: 'libsql', database: null, port: null }],
    ['wss://h:1/ns?tls=1', { remoteScheme: 'wss', port: 1, database: 'ns' }],
    ['LIBSQL://h:8080?tls=0', { remoteScheme: 'libsql', port: 8080 }],
    [
      'sqlite+libsql://h?authToken=t',
      { remoteScheme: 'libsql', host: 'h', dbapi: 'libsql', driver: 'libsql' },
    ],
    ['sqlite+libsql:///x.db', { database: 'x.db', dbapi: 'libsql' }],
    // PGlite
    ['pglite:', { database: null, memory: true }],
    ['pglite://', { database: null, memory: true }],
    ['pglite::memory:', { database: ':memory:', memory: true }],
    ['pglite:memory://', { database: 'memory://', memory: true }],
    ['pglite:./data', { database: './data' }],
    ['pglite://./data', { database: './data' }],
    ['pglite:///abs/data?relaxed=1', { database: '/abs/data', options: { relaxed: '1' } }],
    ['postgresql+pglite:///./data', { database: './data', dbapi: 'pglite' }],
    ['postgresql+pglite:////abs/data', { database: '/abs/data' }],
  ])('reads %j', (text, expected) => {
    const dburi = parseDburi(text)

    expect(dburi).toMatchObject(expected)
    for (const key of ['hosts', 'socket', 'memory', 'flavor', 'remoteScheme'] as const) {
      expect([key, Object.hasOwn(dburi, key)]).toEqual([key, Object.hasOwn(expected, key)])
    }
  })

  it.each<[string, DburiError['code'], DburiError['part']]>([
    ['   ', 'EMPTY', 'dburi'],
    ['postgresql://h/d\nb', 'UNPARSABLE', 'dburi'],
    ['postgresql://u:p%00@h/db', 'UNPARSABLE', 'password'],
    ['postgresql://u%0a@h/db', 'UNPARSABLE', 'user'],
    ['postgresql://h/d%7Fb', 'UNPARSABLE', 'database'],
    ['postgresql://h/db?a=%00', 'UNPARSABLE', 'options'],
    ['postgresql://h/db?a%1b=1', 'UNPARSABLE', 'options'],
    ['postgresql://h%00/db', 'UNPARSABLE', 'host'],
    ['postgresql://u:\uD800@h/db', 'UNPARSABLE', 'dburi'],
    ['file:a%00b', 'UNPARSABLE', 'database'],
    ['/var/lib/x.db', 'UNPARSABLE', 'scheme'],
    ['C:\\x.db', 'UNPARSABLE', 'scheme'],
    ['host=localhost dbname=x', 'UNPARSABLE', 'scheme'],
    ['postgresql+://h', 'UNPARSABLE', 'scheme'],
    ['postgresql:/h/db', 'UNPARSABLE', 'host'],
    ['postgresql:h/db', 'UNPARSABLE', 'host'],
    ['hunter2secret:foo', 'UNSUPPORTED_DIALECT', 'scheme'],
    ['constructor://h/db', 'UNSUPPORTED_DIALECT', 'scheme'],
    ['__proto__://h/db', 'UNPARSABLE', 'scheme'],
    ['db+db+postgresql://h', 'UNSUPPORTED_DIALECT', 'scheme'],
    ['file+x:a.db', 'UNSUPPORTED_DIALECT', 'scheme'],
    ['db+redis://h', 'UNSUPPORTED_DIALECT', 'scheme'],
    ['cache+memcached://h', 'UNSUPPORTED_DIALECT', 'scheme'],
    ['postgresql://h:0/db', 'INVALID_PORT', 'port'],
    ['postgresql://h:65536/db', 'INVALID_PORT', 'port'],
    ['postgresql://h:54x2/db', 'INVALID_PORT', 'port'],
    ['postgresql://h:-1/db', 'INVALID_PORT', 'port'],
    ['postgresql://user:password', 'INVALID_PORT', 'port'],
    ['postgresql://h/db?port=x', 'INVALID_PORT', 'port'],
    ['postgresql:///db?host=a,b,c&port=1,2', 'INVALID_PORT', 'port'],
    ['postgresql://::1/db', 'UNPARSABLE', 'host'],
    ['postgresql://[::1/db', 'UNPARSABLE', 'host'],
    ['postgresql://[h]x/db', 'UNPARSABLE', 'host'],
    ['postgresql://a,,b/db', 'UNPARSABLE', 'host'],
    ['postgresql:///db?host=a,', 'UNPARSABLE', 'host'],
    ['postgresql://h x/db', 'UNPARSABLE', 'host'],
    ['postgresql://h#x/db', 'UNPARSABLE', 'host'],
    ['postgresql://u:p@ss/w@h/db', 'UNPARSABLE', 'password'],
    ['postgresql://u:p@ss?w@h/db', 'UNPARSABLE', 'password'],
    ['postgresql://u:p@ss#w@h/db', 'UNPARSABLE', 'password'],
    ['postgresql://u:p@h/d@b', 'UNPARSABLE', 'password'],
    ['postgresql://h:5432/d@b', 'UNPARSABLE', 'password'],
    ['postgresql://us/er:p@h/db', 'UNPARSABLE', 'user'],
    ['sqlite:foo.db', 'UNPARSABLE', 'database'],
    ['sqlite://:memory:', 'HOST_IN_SQLITE_URI', 'host'],
    ['sqlite://u:p@/foo.db', 'HOST_IN_SQLITE_URI', 'host'],
    ['sqlite://:5432/foo.db', 'HOST_IN_SQLITE_URI', 'host'],
    ['file:', 'URL_INVALID', 'database'],
    ['file:///', 'URL_INVALID', 'database'],
    ['file:a.db#b', 'URL_INVALID', 'database'],
    ['file://./a.db', 'URL_INVALID', 'host'],
    ['file:u:p@h/a.db', 'URL_INVALID', 'user'],
    ['file:C:\\me@here\\x.db', 'URL_INVALID', 'user'],
    ['libsql:h', 'URL_INVALID', 'host'],
    ['libsql://', 'URL_INVALID', 'host'],
    ['libsql://a,b', 'URL_INVALID', 'host'],
    ['libsql://%2Fsock', 'URL_INVALID', 'host'],
    ['libsql://h?authToken=a#b', 'URL_INVALID', 'options'],
    ['libsql://h/#b', 'URL_INVALID', 'options'],
    ['libsql://h:1?tls=false', 'URL_INVALID', 'options'],
    ['https://h?tls=0', 'URL_INVALID', 'options'],
    ['ws://h?tls=1', 'URL_INVALID', 'options'],
    ['pglite://data', 'UNPARSABLE', 'host'],
    ['pglite:u:p@h/x', 'UNPARSABLE', 'user'],
    ['postgresql+pglite://h/x', 'UNPARSABLE', 'host'],
  ])('refuses %j as %s', (text, code, part) => {
    expect(errorOf(text)).toMatchObject({ code, part })
  })

  it('tells what to write instead', () => {
    expect(errorOf('db+redis://h').message).toMatch(/"redis:".*no SQL database.*Known schemes are postgresql/)
    expect(errorOf('jdbc:postgresql://h/db').message).toMatch(/without "jdbc:"/)
    expect(errorOf('sqlite://foo.db').message).toMatch(/three slashes/)
    expect(errorOf('postgresql://u:pw').message).toMatch(/user:password@host/)
    expect(errorOf('hunter2secret:foo').message).not.toMatch(/hunter2|foo/)
    expect(() => parseDburi('nosuch:y', { duckdb: { dialect: 'postgresql', driver: 'duckdb' } })).toThrow(
      /duckdb/,
    )
  })

  it('keeps an option named __proto__ as an option', () => {
    const { options } = parseDburi('postgresql://h/db?__proto__=x&constructor=y')

    expect(Object.entries(options)).toEqual([
      ['__proto__', 'x'],
      ['constructor', 'y'],
    ])
    expect(Object.getPrototypeOf(options)).toBe(Object.prototype)
  })

  it('reads a registered scheme as a server after two slashes, otherwise as a path', () => {
    const schemes = { duckdb: { dialect: 'postgresql', driver: 'duckdb' } } as const

    const server = parseDburi('DuckDB://u:p@h:1/db?a=1', schemes)
    const path = parseDburi('db+duckdb:./x%20y.db?a=1', schemes)

    expect(server).toMatchObject({
      driver: 'duckdb',
      user: 'u',
      password: 'p',
      host: 'h',
      port: 1,
      database: 'db',
    })
    expect(path).toMatchObject({ driver: 'duckdb', host: null, database: './x y.db', options: { a: '1' } })
    expect(errorOf('duckdb:./x.db').code).toBe('UNSUPPORTED_DIALECT')
  })

  it('reads what encoding made of any parts as those parts', { tags: 'full', timeout: 120_000 }, () => {
    // Control characters are refused, and so is half a surrogate pair.
    const text = fc.string({ unit: 'binary', minLength: 1, maxLength: 12 }).filter((s) => !/\p{Cc}/u.test(s))
    const names = fc.oneof(text, fc.constantFrom('__proto__', 'a b', '&=+#'))
    const parts = fc.record({
      user: text,
      password: text,
      host: fc.constantFrom('h', 'h.example.com', '127.0.0.1', '::1'),
      port: fc.option(fc.integer({ min: 1, max: 65_535 })),
      database: text,
      options: fc.uniqueArray(fc.tuple(names, text), { selector: ([name]) => name, maxLength: 3 }),
    })

    const property = fc.property(fc.constantFrom('postgresql', 'mysql'), parts, (scheme, expected) => {
      const options = expected.options.filter(([name]) => !/^(host|port|user|password|dbname)$/.test(name))
      const place = expected.host.includes(':') ? `[${expected.host}]` : expected.host
      const dburi = parseDburi(
        `${scheme}://${encodeURIComponent(expected.user)}:${encodeURIComponent(expected.password)}` +
          `@${place}${expected.port === null ? '' : `:${expected.port}`}/${encodeURIComponent(expected.database)}` +
          `?${options.map((pair) => pair.map(encodeURIComponent).join('=')).join('&')}`,
      )

      expect(dburi).toMatchObject({ ...expected, options: Object.fromEntries(options) })
    })
    fc.assert(property, { numRuns: 500 })
  })
})

describe('a parsed dburi', () => {
  const dburi = parseDburi('postgresql://u:s3cret@h/db?sslpassword=s3cret&sslmode=require')

  it('has its password', () => {
    expect(dburi.password).toBe('s3cret')
    expect(Object.getPrototypeOf(dburi)).toBe(Object.prototype)
  })

  it.each<[string, () => string]>([
    ['inspect', () => inspect({ dburi }, { showHidden: true, depth: 10 })],
    ['JSON', () => JSON.stringify({ dburi })],
    ['a template', () => `${dburi}`],
  ])('does not show it in %s', (_, show) => {
    expect(show()).not.toMatch(/s3cret/)
  })

  it('shows everything else', () => {
    expect(JSON.parse(JSON.stringify(dburi))).toMatchObject({
      host: 'h',
      password: '***',
      options: { sslpassword: '***', sslmode: 'require' },
    })
  })
})

describe('the secrets of a dburi', () => {
  const canary = 'canary-7f3a9c'
  const texts = [
    `postgresql://u:${canary}@h/db?sslpassword=${canary}&sslmode=require`,
    `postgresql://h/db?user=u&password=${canary}`,
    `libsql://h?authToken=${canary}`,
    `mysql://u:${canary}@h/db?ssl={"passphrase":"${canary}"}`,
  ]

  it.each(texts)('are reached by name in %s, and stand in no copy and no print of it', (text) => {
    const dburi = parseDburi(text)
    const copies = [
      structuredClone(dburi),
      { ...dburi },
      Object.assign({}, dburi),
      Object.entries(dburi),
      { ...dburi.options },
      structuredClone({ nested: [dburi] }),
    ]

    for (const copy of [...copies, dburi]) {
      expect(inspect(copy, { depth: 10 })).not.toContain(canary)
      expect(JSON.stringify(copy)).not.toContain(canary)
    }
    expect(JSON.stringify(plain(dburi))).toContain(canary)
  })

  it('stay out of print where they stand in an option nobody knows', () => {
    const dburi = parseDburi(`postgresql://h/db?jwt=${canary}`)

    expect(inspect(dburi)).not.toContain(canary)
    expect(redactDburi(dburi)).toBe('postgresql://h/db?jwt=***')
  })
})

describe('redactDburi', () => {
  it.each([
    ['postgresql://h/db', 'postgresql://h/db'],
    ['postgres://u:p@h:5433/db', 'postgresql://u:***@h:5433/db'],
    ['db+postgresql+psycopg2://:p@[::1]:1,h2/db', 'postgresql+psycopg2://:***@[::1]:1,h2/db'],
    [
      'postgresql://u%3Ax:p@h/a%40b?application_name=%26',
      'postgresql://u%3Ax:***@h/a%40b?application_name=%26',
    ],
    ['postgresql://h/db?jwt=ey.x&b=1', 'postgresql://h/db?jwt=***&b=***'],
    ['postgresql://%2Frun:5433/db', 'postgresql://%2Frun:5433/db'],
    ['postgresql://h/db?password=p', 'postgresql://:***@h/db?password=***'],
    ['mariadb://u:p@h/db', 'mariadb://u:***@h/db'],
    ['mysql://h/db?ssl={"passphrase":"p"}', 'mysql://h/db?ssl=***'],
    ['postgresql://h/db?options=-c app.token=p', 'postgresql://h/db?options=***'],
    ['libsql://h?authToken=ey.x', 'libsql://h?authToken=***'],
    ['libsql://h?syncUrl=https://a:b@c', 'libsql://h?syncUrl=***'],
    [
      'https://h?api_key=1&AUTHTOKEN=2&passwd=3&pwd=4&client_secret=5',
      `https://h?api_key=***&AUTHTOKEN=***&passwd=***&pwd=***&client_secret=***`,
    ],
    ['file:a%20b.db', 'sqlite:///a%20b.db'],
    [':memory:', 'sqlite:///:memory:'],
    ['sqlite://', 'sqlite://'],
    ['pglite:./data', 'pglite:./data'],
    ['hunter2', '<unreadable dburi>'],
    ['', '<unreadable dburi>'],
    ['postgresql://u:p@ss/w@h/db', '<unreadable dburi>'],
  ])('%s → %s', (text, expected) => {
    expect(redactDburi(text)).toBe(expected)
  })

  it.each(vectors.filter(({ error, uri }) => error === undefined && !/authToken|key|x=1/i.test(uri)))(
    '$id says the same once more',
    ({ uri }) => {
      const dburi = parseDburi(uri)

      const again = parseDburi(redactDburi(dburi))

      const password = dburi.password === null ? null : '***'
      expect(dburiKey(again)).toBe(dburiKey({ ...plain(dburi), password }))
    },
  )
})

describe('dburiKey', () => {
  it.each([
    ['db+postgresql+psycopg2://h:5432/db', 'postgres://h/db'],
    ['postgresql://H/db', 'postgresql://h/db'],
    ['postgresql://h/db?a=1&b=2', 'postgresql://h/db?b=2&a=1'],
    ['postgresql://u@h?dbname=x&user=y', 'postgresql://y@h/x'],
    ['postgresql:///db?host=a:1,b&port=1,2', 'postgresql://a:1,b:2/db'],
    ['postgresql:///db?host=/run', 'postgresql://%2Frun/db'],
    ['mysql+pymysql://h/db', 'mysql://h:3306/db'],
    ['libsql://h', 'libsql://h:443/'],
    ['http://h', 'http://h:80'],
    ['sqlite:///x.db', 'file:./a/../x.db'],
    ['sqlite+pysqlite:///x.db', `sqlite:///${resolve('x.db')}`],
    ['file:/a//b.db', 'file:///a/b.db'],
    ['sqlite:///file:x.db?uri=true', 'file:x.db'],
    [':memory:', 'sqlite://'],
    ['file::memory:', 'sqlite:///:memory:'],
    ['pglite:data', 'postgresql+pglite:///./data'],
    ['pglite:', 'pglite:memory://'],
  ])('is the same for %s and %s', (one, other) => {
    expect(dburiKey(parseDburi(one))).toBe(dburiKey(parseDburi(other)))
  })

  it('is different for everything that matters', () => {
    const texts = [
      'postgresql://h/db',
      'postgresql://h/db2',
      'postgresql://h2/db',
      'postgresql://h:5433/db',
      'postgresql://u@h/db',
      'postgresql://u:p@h/db',
      'postgresql://u:q@h/db',
      'postgresql://u:@h/db',
      'postgresql://h/db?a=1',
      'postgresql://h/db?a=2',
      'postgresql://h/db?a=1&a=2',
      'postgresql://h/db?a=2&a=1',
      'postgresql://h,h2/db',
      'postgresql:///db',
      'postgresql:///db?host=/run',
      'pglite:db',
      'pglite:',
      'mysql://h/db',
      'mariadb://h/db',
      'libsql://h',
      'https://h',
      'libsql://h?authToken=a',
      'libsql://h?authToken=b',
      'file:db',
      ':memory:',
      ':memory:?cache=shared',
      'file:a?mode=memory',
      'file:b?mode=memory',
    ]

    expect(new Set(texts.map((text) => dburiKey(parseDburi(text)))).size).toBe(texts.length)
  })

  it('reads no environment', () => {
    const key = dburiKey(parseDburi('postgresql://h/db'))

    vi.stubEnv('PGPORT', '6000')
    const elsewhere = dburiKey(parseDburi('postgresql://h/db'))
    vi.unstubAllEnvs()

    expect(elsewhere).toBe(key)
  })

  it('is of its own for node-postgres, whose dburis are read and printed as those of PostgreSQL', () => {
    const key = (text: string) => dburiKey(parseDburi(text))

    expect(key('postgresql+pg://u:p@h/db?host=h')).toBe(key('postgres+pg://u:p@h:5432/db'))
    expect(key('postgresql+pg://u:p@h/db')).not.toBe(key('postgresql://u:p@h/db'))
    expect(redactDburi('postgres+pg://u:s3cret@h:5433/db')).toBe('postgresql+pg://u:***@h:5433/db')
  })

  it('shows nothing', () => {
    expect(dburiKey(parseDburi('postgresql://u:s3cret@h/db'))).toMatch(/^postgres-js:[0-9a-f]{64}$/)
  })
})

describe('SCHEMES', () => {
  it('has the schemes in lower case', () => {
    expect(Object.keys(SCHEMES)).toEqual(Object.keys(SCHEMES).map((scheme) => scheme.toLowerCase()))
  })
})

describe('10,000 fuzzed dburis with a canary for a password', () => {
  const CANARY = 'c4n4rY'

  const specials = [
    '@',
    ',',
    '/',
    '?',
    '#',
    '[',
    ']',
    ':',
    '%',
    '\\',
    ' ',
    '+',
    '.',
    'é',
    '€',
    '😀',
    '\u2028',
  ]
  const controls = ['\0', '\n', '\x1b', '\x7f', '%00', '%0A', '\uD800']
  const encoded = specials.map(encodeURIComponent)
  const junk = fc
    .array(
      fc.oneof(
        { weight: 6, arbitrary: fc.constantFrom(...specials) },
        { weight: 4, arbitrary: fc.constantFrom(...encoded) },
        { weight: 3, arbitrary: fc.constantFrom('a', 'Z', '0', '5432', '%zz', '%e2%28', '::1', '//', 'x@y') },
        { weight: 1, arbitrary: fc.constantFrom(...controls) },
      ),
      { maxLength: 4 },
    )
    .map((pieces) => pieces.join(''))
  const mostly = (value: fc.Arbitrary<string>, ...rest: string[]) =>
    fc.oneof({ weight: 5, arbitrary: fc.constantFrom(...rest) }, { weight: 1, arbitrary: value })

  const password = fc.tuple(junk, junk).map(([before, after]) => `${before}${CANARY}${after}`)
  const scheme = fc.constantFrom(
    ...Object.keys(SCHEMES).flatMap((name) => [`${name}://`, `${name.toUpperCase()}://`]),
    ...['db+postgresql+psycopg2://', 'mysql+pymysql://', 'sqlite+pysqlite://', 'duckdb://', 'redis://'],
    ...[
      'nosuch://',
      'postgresql:/',
      'postgresql:',
      'file:',
      'pglite:',
      'libsql:',
      'duckdb:',
      'jdbc:mysql://',
      '',
    ],
  )
  const dburis = fc
    .record({
      scheme,
      user: mostly(fc.constantFrom('u%40s', 'a@b', 'a+b'), 'u', 'user', ''),
      password,
      host: mostly(junk, 'h', 'h.example.com:5432', '[::1]:5432', 'a,b:1', '%2Frun', '', 'h:99999'),
      database: mostly(junk, '/db', '/db/with/slash', '/', ''),
      query: mostly(
        junk,
        '',
        '?a=1',
        '?sslmode=require&b=2',
        '?tls=0',
        '?host=/run',
        '?application_name=a@b',
      ),
      secret: fc.option(fc.constantFrom('password', 'authToken', 'sslpassword', 'api_key'), { freq: 4 }),
      space: mostly(fc.constantFrom(' ', '\n', '\t'), ''),
    })
    .map(({ scheme: start, user, password: canary, host, database, query, secret, space }) => {
      const option =
        secret === null ? '' : `${query.includes('?') ? '&' : '?'}${secret}=${encodeURIComponent(CANARY)}`
      return `${space}${start}${user}:${canary}@${host}${database}${query}${option}${space}`
    })

  it('reads them or names the part it cannot read, and never shows the canary', { timeout: 120_000 }, () => {
    const seen = { read: 0, refused: 0 }
    const numRuns = loops(10_000, 50_000, 1_500)

    fc.assert(
      fc.property(dburis, (text) => {
        const result = read(text)
        seen[result instanceof DburiError ? 'refused' : 'read']++

        const faces = { redacted: redactDburi(text), ...facesOf(result) }
        const leaks = Object.entries(faces).filter(([, face]) => face.includes(CANARY))
        expect(leaks).toEqual([])
      }),
      { numRuns },
    )

    // The fuzzer is worth something only while it reaches both.
    expect(seen.read).toBeGreaterThan(numRuns / 10)
    expect(seen.refused).toBeGreaterThan(numRuns / 10)
  })

  const schemes = { duckdb: { dialect: 'postgresql', driver: 'duckdb' } } as const

  /** Anything that is thrown beside a DburiError fails the test. */
  function read(text: string): Dburi | DburiError {
    try {
      return parseDburi(text, schemes)
    } catch (error) {
      if (error instanceof DburiError && typeof error.part === 'string') return error
      throw error
    }
  }

  /** Every way a result can be printed, and all parts of it that are no secret. */
  function facesOf(result: Dburi | DburiError): Record<string, string> {
    const printed = {
      inspected: inspect(result, { showHidden: true, depth: 10 }),
      json: JSON.stringify(result),
    }
    if (result instanceof DburiError) return { ...printed, message: result.message, stack: `${result.stack}` }

    const { host, hosts, user, database, socket, options } = result
    const parts = JSON.stringify([host, hosts, user, database, socket, Object.keys(options)])
    return { ...printed, parts, key: dburiKey(result), redactedAgain: redactDburi(result) }
  }
})

describe('a long dburi', () => {
  const KIB = 1_024

  it('is read up to 64 KiB, blanks and all', () => {
    const start = 'postgresql://h/'

    expect(parseDburi(start.padEnd(64 * KIB, 'd')).database).toHaveLength(64 * KIB - start.length)
    expect(parseDburi(`${start}d`.padEnd(64 * KIB)).database).toBe('d')
  })

  it.each<[string, string]>([
    ['one character more', 'postgresql://h/'.padEnd(64 * KIB + 1, 'd')],
    ['as many characters, of two bytes', 'postgresql://h/'.padEnd(40 * KIB, 'ü')],
    ['a megabyte of options', `postgresql://u:canary@h/d?${'password=canary&'.repeat(65_536)}`],
    ['a megabyte of blanks', `postgresql://u:canary@h/d${' '.repeat(1_024 * KIB)}`],
    ['a megabyte without a scheme', 'canary'.repeat(170_000)],
  ])('is refused: %s', (_, text) => {
    const error = errorOf(text)

    expect([error.code, error.part]).toEqual(['TOO_LONG', 'dburi'])
    expect(error.message.length).toBeLessThan(200)
    expect(inspect(error)).not.toContain('canary')
    expect(redactDburi(text)).toBe('<unreadable dburi>')
  })

  // Each of these once took time in proportion to the square of its length, or might.
  it.each<[start: string, piece: string, end?: string]>([
    ['postgresql://h/d?', 'a=1&'],
    ['postgresql://h/d?', 'password=%41&'],
    ['postgresql:///d?', 'host=h&'],
    ['postgresql://h/d?', 'port=1&'],
    ['postgresql://h/d?', 'a=b@c&', 'x@'],
    ['postgresql://h/d?host=h&', 'host=h&'],
    ['postgresql:///d?host=', 'h,', 'h'],
    ['postgresql:///d?host=/', '/', 's'],
    ['postgresql:///d?host=', ':', '@'],
    ['postgresql:///d?host=', 'a:1,'],
    ['postgresql:///d?host=', '[::1],'],
    ['postgresql://h/d?options=', 'key'],
    ['postgresql://h/d?options=', 'pass.', '\\'],
    ['postgresql://h/d?options=', '://'],
    ['postgresql://h/d?options=', 'token '],
    ['postgresql://h/d?options=', '-c a=b '],
    ['postgresql://', 'h,', 'h'],
    ['postgresql://', 'h:1,', ':'],
    ['postgresql://', '[::1]:1,', ']'],
    ['postgresql://[', ','],
    ['postgresql://[', 'fe80:'],
    ['postgresql://%2f', ':1'],
    ['postgresql://', '%41', '@h/d'],
    ['postgresql://', '%', '@h/d'],
    ['postgresql://', 'p:', '@h/d'],
    ['postgresql://', '@', 'h/d'],
    ['postgresql://', '?@&'],
    ['postgresql://h/', '/#'],
    ['postgresql://h/', 'd '],
    ['postgresql+', 'x'],
    ['', 'a'],
    ['mysql://', ',', '/d'],
    ['mysql://h/d?', 'unix_socket=/s&'],
    ['pglite:', ':', '@'],
    ['file:', ':', '@'],
    ['sqlite:///', '../'],
    ['libsql://', 'h,', 'h'],
    ['libsql://h?', 'authToken=x&'],
  ])('takes time in proportion to its length: %s and many of %s', (start, piece, end = '') => {
    const ofLength = (length: number) => `${start}${piece.repeat(Math.floor(length / piece.length))}${end}`
    const [short, long] = [ofLength(7.5 * KIB), ofLength(60 * KIB)]

    // Eight times as long: in proportion to the square it would cost 64 times as much. What collecting garbage and a busy
    // machine add is not in all attempts.
    const most = 24 * Math.max(1, ...[1, 2, 3].map(() => cpuOf(short)))
    const costs: number[] = []
    while (costs.length < 10 && !costs.some((cost) => cost < most)) costs.push(cpuOf(long))

    expect(Math.min(...costs)).toBeLessThan(most)
  })

  /** Milliseconds of this process's work that it costs to read a text, key it, print it, judge its options, and redact it. */
  function cpuOf(text: string): number {
    const before = process.cpuUsage()
    try {
      const dburi = parseDburi(text)
      dburiKey(dburi)
      inspect(dburi)
      judge(dburi)
    } catch (error) {
      if (!(error instanceof DburiError || error instanceof OptionError)) throw error
    }
    redactDburi(text)
    const { user, system } = process.cpuUsage(before)
    return (user + system) / 1_000
  }
})

function judge(dburi: Dburi): void {
  const rest = withOptions(dburi, takePoolOptions(dburi.options, dburi.dialect).rest)
  if (dburi.driver === 'postgres-js') postgresOptions(rest, {})
  if (dburi.driver === 'mysql2') mysqlOptions(rest)
}

/** With its secrets, which no copy has. */
function plain(dburi: Dburi): Dburi {
  const { password, options } = dburi
  const names = Object.getOwnPropertyNames(options)
  return { ...dburi, password, options: Object.fromEntries(names.map((name) => [name, options[name] ?? ''])) }
}

function errorOf(text: string): DburiError {
  try {
    parseDburi(text)
  } catch (error) {
    if (error instanceof DburiError) return error
    throw error
  }
  throw new Error('It was read')
}
