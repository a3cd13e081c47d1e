import { sql } from 'drizzle-orm'

/**
 * How mysql2 gives the values of columns, as Drizzle 1.0 is told: what `drizzle-orm/mysql2/codecs` says, which 0.45 has not,
 * so that bundlers would not find it there.
 * @param core `drizzle-orm/mysql-core` of 1.0
 */
export function mysqlCodecs(core: object): unknown {
  const refine: (codecs: object) => unknown = Reflect.get(core, 'refineGenericMySqlCodecs')
  const cast: unknown = Reflect.get(core, 'castToText')
  const bytes = { normalize: (value: Buffer) => value.toString() }
  const blob = { normalize: (value: Buffer) => value.toString('utf8') }
  return refine({
    serial: { cast, normalize: Number },
    bigint: { cast, normalize: BigInt },
    'bigint:number': { cast, normalize: Number },
    'bigint:string': { cast },
    boolean: { normalize: (value: unknown) => value === 1 },
    date: { normalize: (value: string) => new Date(value) },
    datetime: { normalize: (value: string) => new Date(`${value.replace(' ', 'T')}Z`) },
    timestamp: { normalize: (value: string) => new Date(`${value}+0000`) },
    'decimal:number': { normalize: Number },
    'decimal:bigint': { normalize: BigInt },
    float: {
      cast: (name: unknown) => sql`cast(${name} as double)`,
      normalize: Reflect.get(core, 'floatFromDouble'),
    },
    binary: bytes,
    varbinary: bytes,
    blob,
    tinyblob: blob,
    mediumblob: blob,
    longblob: blob,
  })
}
