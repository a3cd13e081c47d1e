import { SCHEMES } from '../dburi/schemes.ts'
import type { Dburi, DburiScheme, Dialect } from '../dburi/types.ts'
import type {
  HandleByDialect,
  LibsqlHandle,
  Mysql2Handle,
  PgliteHandle,
  PostgresJsHandle,
} from '../driver/dialect.ts'
import type { Adapter } from '../driver/types.ts'
import { DburiError, DrizzleCeleryError } from '../errors.ts'

/** What a driver opens. */
export interface Opens<D extends Dialect, Db> {
  readonly dialect: D
  readonly db: Db
}

/** The dialect and the Drizzle handle of each driver. */
export interface Drivers {
  'postgres-js': Opens<'postgresql', PostgresJsHandle>
  pglite: Opens<'postgresql', PgliteHandle>
  mysql2: Opens<'mysql', Mysql2Handle>
  libsql: Opens<'sqlite', LibsqlHandle>
}

type Adapters = {
  readonly [Driver in keyof Drivers]: () => Promise<
    Adapter<Drivers[Driver]['dialect'], Drivers[Driver]['db']>
  >
}

/** The adapter of each driver, loaded when it is first needed. */
const adapters: Adapters = {
  'postgres-js': () => import('../adapters/postgres-js/adapter.ts').then((module) => module.adapter),
  pglite: () => import('../adapters/pglite/adapter.ts').then((module) => module.adapter),
  mysql2: () => import('../adapters/mysql2/adapter.ts').then((module) => module.adapter),
  libsql: () => import('../adapters/libsql/adapter.ts').then((module) => module.adapter),
}

type BuiltInSchemes = { [Scheme in keyof typeof SCHEMES]: (typeof SCHEMES)[Scheme]['driver'] }

/**
 * The driver of each scheme. Whoever registers an adapter adds a row here and one to `Drivers`, by declaration merging:
 *
 * ```ts
 * declare module 'drizzle-celery' {
 *   interface Schemes {
 *     duckdb: 'duckdb'
 *   }
 *   interface Drivers {
 *     duckdb: Opens<'postgresql', DuckDbHandle>
 *   }
 * }
 * ```
 */
export interface Schemes extends BuiltInSchemes {}

type WithoutPrefix<Text extends string> = Text extends `${'db' | 'database' | 'sqla'}+${infer Rest}`
  ? Rest
  : Text

type WithoutDriver<Scheme extends string> = Scheme extends `${infer Base}+${string}` ? Base : Scheme

/** `'db+postgresql+psycopg2://…'` → `'postgresql+psycopg2'`, `':memory:'` → `'file'`. */
type SchemeIn<Text extends string> = Text extends ':memory:'
  ? 'file'
  : Text extends `${infer Scheme}:${string}`
    ? WithoutPrefix<Lowercase<Scheme>>
    : never

type DriverOfScheme<Scheme extends string> = Scheme extends keyof Schemes
  ? Schemes[Scheme]
  : WithoutDriver<Scheme> extends infer Base extends keyof Schemes
    ? Schemes[Base]
    : never

/** What a dburi opens: exactly, for a literal; any of the dialects, for a `string`. */
export type OpensFor<Text extends string> = string extends Text
  ? { [D in keyof HandleByDialect]: Opens<D, HandleByDialect[D]> }[keyof HandleByDialect]
  : Drivers[DriverOfScheme<SchemeIn<Text>> & keyof Drivers]

const registered = new Map<string, () => Promise<Adapter>>()
const schemes: Record<string, DburiScheme> = Object.create(null)

/**
 * Lets every manager of this process open a scheme of your own. The adapter is loaded when it is first needed.
 * @throws DrizzleCeleryError with code `SCHEME_TAKEN` when the scheme is known already
 */
export function registerAdapter(
  scheme: string,
  { dialect, load }: { dialect: Dialect; load: () => Promise<Adapter> },
): void {
  if (!/^[a-z][a-z0-9.-]*$/.test(scheme)) {
    throw new DrizzleCeleryError(
      'INVALID_SCHEME',
      'Cannot register an adapter: a scheme is a word in lower case, such as duckdb',
    )
  }
  if (scheme in schemes || Object.hasOwn(SCHEMES, scheme) || isBuiltIn(scheme)) {
    throw new DrizzleCeleryError(
      'SCHEME_TAKEN',
      `Cannot register an adapter for "${scheme}:": it has one already`,
    )
  }
  schemes[scheme] = { dialect, driver: scheme }
  registered.set(scheme, load)
}

/** The schemes of registered adapters, for `parseDburi`. */
export function registeredSchemes(): Readonly<Record<string, DburiScheme>> {
  return schemes
}

/**
 * The adapter of a parsed dburi.
 * @throws DburiError `UNSUPPORTED_DIALECT` when no adapter is registered for it
 */
export function resolveAdapter({ driver, dialect }: Dburi): Promise<Adapter> {
  const load = registered.get(driver) ?? (isBuiltIn(driver) ? adapters[driver] : undefined)
  if (load !== undefined) return load()
  throw new DburiError(
    'UNSUPPORTED_DIALECT',
    'scheme',
    `Cannot open a ${dialect} database: there is no adapter for the driver "${driver}" yet. ` +
      `There are adapters for ${Object.keys(adapters).join(', ')}, and registerAdapter() takes your own.`,
  )
}

function isBuiltIn(driver: string): driver is keyof Drivers {
  return Object.hasOwn(adapters, driver)
}
