import type { DrizzleConfig } from '../../driver/drizzle.ts'
import { handleFactory } from '../../driver/handles.ts'
import type { Executor } from '../../driver/types.ts'
import { drizzleClient } from './drizzle-client.ts'

/**
 * Loads what makes Drizzle's handles over executors that answer in the shapes of postgres.js, by Drizzle's session for it.
 * @param kind Drizzle's name for handles of the driver
 * @param codecs how the driver gives values, as 1.0 is told: one of the two below, or Drizzle's own
 */
export async function loadHandles(
  kind: string,
  codecs: (core: object) => unknown,
): Promise<(executor: Executor, config: DrizzleConfig) => object> {
  const { PostgresJsSession } = await import('drizzle-orm/postgres-js/session')
  const handleOf = await handleFactory({
    core: await import('drizzle-orm/pg-core'),
    dialect: 'PgDialect',
    database: ['PgAsyncDatabase', 'PgDatabase'],
    kind,
    session: PostgresJsSession,
    codecs,
  })
  return (executor, config) => handleOf(drizzleClient(executor), config)
}

/** What 1.0 is told of a type: how its values are asked for, read, and sent. */
type Codec = Readonly<Record<string, unknown>>
type Read = (value: never) => unknown

/** What `drizzle-orm/pg-core` of 1.0 has for codecs; each is Drizzle's own. */
interface Tools {
  readonly refineGenericPgCodecs: (codecs: Readonly<Record<string, Codec>>) => Readonly<Record<string, Codec>>
  readonly arrayCompatNormalize: (read: Read) => Read
  readonly arrayCompatNormalizeInput: (write: Read, areParams?: boolean) => Read
  readonly makePgArray: (values: unknown) => string
  readonly castToText: unknown
  readonly castToTextArr: unknown
  readonly makeBoxArray: Read
  readonly makeGeometryArray: Read
  readonly parseGeometryArrayAndNormalize: (read: Read) => Read
  readonly parseGeometryTuple: Read
  readonly parseGeometryXY: Read
  readonly parseLineABC: Read
  readonly parseLineTuple: Read
  readonly parsePgArray: (text: string) => unknown
  readonly parsePgArrayAndNormalize: (read: Read) => Read
  readonly parsePgVector: Read
  readonly parsePointTuple: Read
  readonly parsePointXY: Read
  readonly textToDate: Read
  readonly textToDateWithTz: Read
}

/** Types of 1.0, which 0.45 lacks; `strictly` throws for what is not there. */
function toolsOf(pgCore: object): Tools {
  return pgCore as Tools
}

/**
 * How postgres.js gives and takes the values of columns, as Drizzle 1.0 is told: what `drizzle-orm/postgres-js/codecs` says,
 * which 0.45 has not, so that bundlers would not find it there.
 * @param pgCore `drizzle-orm/pg-core` of 1.0
 */
export function postgresJsCodecs(pgCore: object): unknown {
  const core = toolsOf(pgCore)
  const { castToTextArr: castArray, makeGeometryArray, makePgArray, textToDate, textToDateWithTz } = core
  const array = { normalizeParamArray: (values: unknown) => makePgArray(values) }
  const read = (normalize: Read) => ({ normalize, normalizeArray: core.arrayCompatNormalize(normalize) })
  const asText = { castArray, ...array }
  const json = { normalizeParamArray: jsonArray(core) }
  const geography = { normalizeParamArray: makeGeometryArray }
  return core.refineGenericPgCodecs({
    ...Object.fromEntries(ARRAYS.map((type) => [type, array])),
    point: { ...array, ...read(core.parsePointXY) },
    'point:tuple': { ...array, ...read(core.parsePointTuple) },
    line: { ...array, ...read(core.parseLineABC) },
    'line:tuple': { ...array, ...read(core.parseLineTuple) },
    json,
    jsonb: json,
    box: { normalizeParamArray: core.makeBoxArray },
    'geography(point)': geography,
    'geography(point):tuple': geography,
    'geometry(point)': { castArray, ...geography, ...read(core.parseGeometryXY) },
    'geometry(point):tuple': { castArray, ...geography, ...read(core.parseGeometryTuple) },
    halfvec: { ...array, ...read(core.parsePgVector) },
    vector: { ...array, ...read(core.parsePgVector) },
    enum: asText,
    numeric: asText,
    'numeric:number': { ...asText, ...read(Number) },
    'numeric:bigint': { ...asText, ...read(BigInt) },
    bigint: { ...array, ...read(BigInt) },
    'bigint:number': { ...array, ...read(Number) },
    bigserial: { ...array, ...read(BigInt) },
    'bigserial:number': { ...array, ...read(Number) },
    date: { ...asText, ...read(textToDate) },
    'date:string': asText,
    timestamp: { ...asText, ...read(textToDateWithTz) },
    'timestamp:string': asText,
    timestamptz: { ...asText, ...read(textToDate) },
    'timestamptz:string': asText,
  })
}

/** Types of which nothing more is to be said than how an array of them is sent. */
const ARRAYS =
  `interval macaddr8 bit bool box2d box3d char cidr circle datemultirange daterange float8 inet int4multirange
  int4range int8multirange int8range lseg macaddr money nummultirange numrange oid path polygon raster regclass regconfig
  regdictionary regnamespace regoper regoperator regproc regprocedure regrole regtype serial smallint smallserial sparsevec
  text time timetz tsmultirange tsquery tsrange tstzmultirange tstzrange tsvector varbit varchar xml bytea bigint:string
  float4 int uuid`.split(/\s+/)

/**
 * The same for PGlite, which reads numbers, JSON and arrays itself, but for those that are asked for as texts.
 * @param pgCore `drizzle-orm/pg-core` of 1.0
 */
export function pgliteCodecs(pgCore: object): unknown {
  const core = toolsOf(pgCore)
  const {
    castToText: cast,
    castToTextArr: castArray,
    makePgArray,
    parsePgArray,
    textToDate,
    textToDateWithTz,
  } = core
  const read = (normalize: Read) => ({ normalize, normalizeArray: core.arrayCompatNormalize(normalize) })
  const asText = { cast, castArray }
  const json = { normalizeParam: jsonParam, normalizeParamArray: jsonArray(core) }
  const sent = (type: string) => ({
    castParam: (name: unknown) => `${name}::${type}`,
    castArrayParam: (name: unknown, _column: unknown, dimensions: number) =>
      `${name}::${type}${'[]'.repeat(dimensions)}`,
  })
  const array = { normalizeParamArray: (values: unknown) => makePgArray(values) }
  const geometry = (normalize: Read) => ({
    ...sent('geometry'),
    normalize,
    normalizeArray: core.parseGeometryArrayAndNormalize(normalize),
    normalizeParamArray: core.makeGeometryArray,
  })
  const vector = {
    ...array,
    normalize: core.parsePgVector,
    normalizeArray: core.parsePgArrayAndNormalize(core.parsePgVector),
  }
  return core.refineGenericPgCodecs({
    bigint: { ...asText, ...read(BigInt) },
    'bigint:string': asText,
    'bigint:number': { ...asText, ...read(Number) },
    bigserial: { ...asText, ...read(BigInt) },
    'bigserial:number': { ...asText, ...read(Number) },
    bytea: read((bytes: Uint8Array) => Buffer.from(bytes)),
    interval: { castArray },
    date: { castArray, ...read(textToDate) },
    'date:string': { castArray },
    timestamp: { castArray, ...read(textToDateWithTz) },
    'timestamp:string': { castArray },
    timestamptz: { castArray, ...read(textToDate) },
    'timestamptz:string': { castArray },
    json,
    jsonb: json,
    enum: { castArray, ...array },
    numeric: { castArray },
    'numeric:number': { castArray, ...read(Number) },
    'numeric:bigint': { castArray, ...read(BigInt) },
    line: read(core.parseLineABC),
    'line:tuple': read(core.parseLineTuple),
    point: read(core.parsePointXY),
    'point:tuple': read(core.parsePointTuple),
    'geometry(point)': geometry(core.parseGeometryXY),
    'geometry(point):tuple': geometry(core.parseGeometryTuple),
    halfvec: { ...vector, ...sent('halfvec') },
    vector: { ...vector, ...sent('vector') },
    sparsevec: { ...array, ...sent('sparsevec'), normalizeArray: (text: string) => parsePgArray(text) },
  })
}

/** PGlite writes objects as JSON itself. */
function jsonParam(value: unknown): unknown {
  return typeof value === 'object' ? value : JSON.stringify(value)
}

function jsonArray({ arrayCompatNormalizeInput }: Tools): Read {
  return arrayCompatNormalizeInput((value: unknown) => JSON.stringify(value), true)
}
