import { describe, expect, it } from 'vitest'
import { mysqlOptions } from '../../../src/adapters/mysql2/options.ts'
import { encryptionAttempts, type TlsMode } from '../../../src/adapters/mysql2/tls.ts'
import { OptionError, parseDburi } from '../../../src/index.ts'

const plan = (dburi: string) => mysqlOptions(parseDburi(dburi))

describe('where a MySQL dburi leads', () => {
  it.each<[string, unknown]>([
    ['mysql://u@h/db', [{ host: 'h', port: 3306 }]],
    ['mariadb+mariadbconnector://u@h:3307/db', [{ host: 'h', port: 3307 }]],
    ['db+mysql+pymysql://u@h/db', [{ host: 'h', port: 3306 }]],
    ['mysql://u@/db', [{ host: 'localhost', port: 3306 }]],
    ['mysql://u@[::1]/db', [{ host: '::1', port: 3306 }]],
    [
      'mysql://u@a,b:3307/db',
      [
        { host: 'a', port: 3306 },
        { host: 'b', port: 3307 },
      ],
    ],
    ['mysql+pymysql://u@/db?unix_socket=/run/mysqld/mysqld.sock', [{ path: '/run/mysqld/mysqld.sock' }]],
    ['mysql://u@/db?socketPath=/tmp/mysql.sock', [{ path: '/tmp/mysql.sock' }]],
  ])('%s', (dburi, endpoints) => {
    expect(plan(dburi).endpoints).toEqual(endpoints)
  })

  it('names the user and the database, and no database when there is none', () => {
    expect(plan('mysql://scott:tiger@h/foo')).toMatchObject({ user: 'scott', database: 'foo' })
    expect(plan('mysql://scott:tiger@h').database).toBeNull()
    expect(plan('mysql://scott:ti%25ger@h').password()).toBe('ti%ger')
  })

  it('shows no password when it is printed', () => {
    expect(JSON.stringify(plan('mysql://scott:tiger@h/foo'))).not.toContain('tiger')
  })
})

describe('TLS of MySQL', () => {
  it.each<[string, TlsMode]>([
    ['', 'PREFERRED'],
    ['ssl_mode=disabled', 'DISABLED'],
    ['ssl_mode=REQUIRED', 'REQUIRED'],
    ['ssl_mode=VERIFY_CA', 'VERIFY_CA'],
    ['sslmode=verify-full', 'VERIFY_IDENTITY'],
    ['ssl_disabled=true', 'DISABLED'],
    ['ssl=true', 'VERIFY_IDENTITY'],
    ['ssl=false', 'DISABLED'],
    ['ssl={"rejectUnauthorized":true}', 'VERIFY_IDENTITY'],
    ['ssl={"rejectUnauthorized":false}', 'REQUIRED'],
    ['sslaccept=strict', 'VERIFY_IDENTITY'],
    ['sslaccept=accept_invalid_certs', 'REQUIRED'],
    ['ssl_ca=/ca.pem', 'VERIFY_CA'],
    ['ssl_ca=/ca.pem&ssl_mode=REQUIRED', 'VERIFY_CA'],
    ['ssl_ca=/ca.pem&ssl_verify_cert=true', 'VERIFY_CA'],
    ['ssl_ca=/ca.pem&ssl_verify_cert=true&ssl_verify_identity=true', 'VERIFY_IDENTITY'],
    ['ssl_ca=/ca.pem&ssl_check_hostname=true', 'VERIFY_IDENTITY'],
    ['ssl_cert=/c.pem&ssl_key=/k.pem', 'REQUIRED'],
  ])('%s means %s', (options, mode) => {
    expect(plan(`mysql://u@h/db?${options}`).tls.mode).toBe(mode)
  })

  it.each<[string, string, string[]]>([
    ['localhost', '', ['plain']],
    ['127.0.0.1', '', ['plain']],
    ['h', '', ['tls', 'plain']],
    ['localhost', 'ssl_mode=PREFERRED', ['tls', 'plain']],
    ['localhost', 'ssl_mode=REQUIRED', ['tls']],
    ['h', 'ssl=true', ['tls']],
    ['h', 'ssl_disabled=1', ['plain']],
  ])('%s with "%s" is tried as %j', (host, options, attempts) => {
    const { tls, endpoints } = plan(`mysql://u@${host}/db?${options}`)
    expect(endpoints.map((endpoint) => encryptionAttempts(endpoint, tls))).toEqual([attempts])
  })

  it('sockets are plain', () => {
    const { tls } = plan('mysql://u@/db?unix_socket=/s&ssl_mode=PREFERRED')
    expect(encryptionAttempts({ path: '/s' }, tls)).toEqual(['plain'])
  })
})

describe('options of MySQL', () => {
  it.each<[string, string, string]>([
    ['init_command=select 1', 'REFUSED_OPTION', 'init_command'],
    ['sql_mode=ANSI', 'REFUSED_OPTION', 'sql_mode'],
    ['local_infile=1', 'REFUSED_OPTION', 'local_infile'],
    ['multipleStatements=true', 'REFUSED_OPTION', 'multipleStatements'],
    ['debug=true', 'REFUSED_OPTION', 'debug'],
    ['enableCleartextPlugin=true', 'REFUSED_OPTION', 'enableCleartextPlugin'],
    ['read_timeout=5', 'REFUSED_OPTION', 'read_timeout'],
    ['idleTimeout=60000', 'REFUSED_OPTION', 'idleTimeout'],
    ['maxIdle=0', 'REFUSED_OPTION', 'maxIdle'],
    ['user=other', 'REFUSED_OPTION', 'user'],
    ['ssl_disabled=true&ssl_ca=/ca.pem&ssl_verify_cert=true&ssl=true', 'REFUSED_OPTION', 'ssl_disabled'],
    ['charset=latin1', 'INVALID_OPTION', 'charset'],
    ['timezone=%2B02:00', 'INVALID_OPTION', 'timezone'],
    ['timezone=local', 'INVALID_OPTION', 'timezone'],
    ["time_zone=%2B00:00'", 'INVALID_OPTION', 'time_zone'],
    ['timeZone=%2B25:00', 'INVALID_OPTION', 'timeZone'],
    ['timeZone=UTC&time_zone=UTC', 'INVALID_OPTION', 'timeZone'],
    ['connect_timeout=0', 'INVALID_OPTION', 'connect_timeout'],
    ['connectTimeout=-1', 'INVALID_OPTION', 'connectTimeout'],
    ['connectTimeout=100&connect_timeout=1', 'INVALID_OPTION', 'connectTimeout'],
    ['ssl=maybe', 'INVALID_OPTION', 'ssl'],
    ['ssl={"ca":"x"}', 'INVALID_OPTION', 'ssl'],
    ['ssl_mode=strict', 'INVALID_OPTION', 'ssl_mode'],
    ['ssl_cert=/c.pem', 'INVALID_OPTION', 'ssl_cert'],
    ['ssl_ca=/a&ssl_ca=/b', 'INVALID_OPTION', 'ssl_ca'],
    ['chraset=utf8', 'UNKNOWN_OPTION', 'chraset'],
  ])('%s is refused as %s', (options, code, option) => {
    const refusal = () => plan(`mysql://u@h/db?${options}`)
    expect(refusal).toThrow(OptionError)
    expect(refusal).toThrow(expect.objectContaining({ code, option }))
  })

  it.each([
    'charset=utf8mb4',
    'charset=utf8',
    'timezone=Z',
    'use_unicode=1',
    'waitForConnections=true&queueLimit=0',
    'user=u&db=db',
    'enableKeepAlive=true',
  ])('%s is taken', (options) => {
    expect(() => plan(`mysql://u@h/db?${options}`)).not.toThrow()
  })

  it.each<[string, string | null]>([
    ['', '+00:00'],
    ['timezone=Z', '+00:00'],
    ['time_zone=utc', '+00:00'],
    ['timeZone=server', null],
    ['time_zone=server&timezone=Z', null],
    ['timezone=server', null],
    ['timeZone=%2B09:00', '+09:00'],
    ['time_zone=America/Argentina/Buenos_Aires', 'America/Argentina/Buenos_Aires'],
    ['time_zone=SYSTEM', 'SYSTEM'],
  ])('with "%s" the time zone of sessions is %j', (options, timeZone) => {
    expect(plan(`mysql://u@h/db?${options}`).timeZone).toBe(timeZone)
  })

  it('takes the time zone of the program before that of the dburi', () => {
    const dburi = parseDburi('mysql://u@h/db?time_zone=server')

    expect(mysqlOptions(dburi, { timeZone: '-03:00' }).timeZone).toBe('-03:00')
    expect(() => mysqlOptions(dburi, { timeZone: "UTC'; drop" })).toThrow(
      expect.objectContaining({ code: 'INVALID_OPTION', option: 'timeZone' }),
    )
  })

  it('reads both spellings of the time to connect', () => {
    expect(plan('mysql://u@h/db').connectTimeout).toBe(10_000)
    expect(plan('mysql://u@h/db?connect_timeout=2').connectTimeout).toBe(2_000)
    expect(plan('mysql://u@h/db?connectTimeout=250').connectTimeout).toBe(250)
  })
})
