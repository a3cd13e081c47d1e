import type { SCHEMES } from '../dburi/schemes.ts'
import type { Dialect } from '../dburi/types.ts'
import type {
  HandleByDialect,
  LibsqlHandle,
  Mysql2Handle,
  PgHandle,
  PgliteHandle,
  PostgresJsHandle,
} from '../driver/dialect.ts'
import type { Adapter, NamedAdapter } from '../driver/types.ts'
import { DrizzleCeleryError } from '../errors.ts'
import { isKnownDriver, isKnownScheme, isSchemeName } from './adapters.ts'

/** What a driver opens. */
export interface Opens<D extends Dialect, Db> {
  readonly dialect: D
  readonly db: Db
}

/** The dialect and the Drizzle handle of each driver. */
export interface Drivers {
  'postgres-js': Opens<'postgresql', PostgresJsHandle>
  pg: Opens<'postgresql', PgHandle>
  pglite: Opens<'postgresql', PgliteHandle>
  mysql2: Opens<'mysql', Mysql2Handle>
  libsql: Opens<'sqlite', LibsqlHandle>
}

type BuiltIn = {
  readonly [Driver in keyof Drivers]: NamedAdapter<Driver, Drivers[Driver]['dialect'], Drivers[Driver]['db']>
}

/** The adapter of each driver, loaded when it is first needed. */
const builtIn: BuiltIn = {
  'postgres-js': loadedBy('postgres-js', 'postgresql', () =>
    import('../adapters/postgres-js/adapter.ts').then((module) => module.postgresJs),
  ),
  pg: loadedBy('pg', 'postgresql', () => import('../adapters/pg/adapter.ts').then((module) => module.pg)),
  pglite: loadedBy('pglite', 'postgresql', () =>
    import('../adapters/pglite/adapter.ts').then((module) => module.pglite),
  ),
  mysql2: loadedBy('mysql2', 'mysql', () =>
    import('../adapters/mysql2/adapter.ts').then((module) => module.mysql2),
  ),
  libsql: loadedBy('libsql', 'sqlite', () =>
    import('../adapters/libsql/adapter.ts').then((module) => module.libsql),
  ),
}

type BuiltInSchemes = { [Scheme in keyof typeof SCHEMES]: (typeof SCHEMES)[Scheme]['driver'] }

/**
 * The driver of each scheme. To register an adapter add a row here and one to `Drivers`, by declaration merging:
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

type WithoutPrefix<Text extends string> = Text extends `${infer Prefix}+${infer Rest}`
  ? Lowercase<Prefix> extends 'db' | 'database' | 'sqla'
    ? Rest
    : Text
  : Text

type WithoutDriver<Scheme extends string> = Scheme extends `${infer Base}+${string}` ? Base : Scheme

/** `'postgresql+psycopg2://…'` → `'postgresql+psycopg2'`, `':memory:'` → `'file'`, `'memory://'` → `'pglite'`. */
type SchemeIn<Text extends string> = Text extends ':memory:' | `:memory:?${string}`
  ? 'file'
  : Text extends 'memory://' | `memory://?${string}`
    ? 'pglite'
    : Text extends `${infer Scheme}:${string}`
      ? Lowercase<Scheme>
      : Text

type DriverOf<Scheme extends string> = Scheme extends keyof Schemes
  ? Schemes[Scheme]
  : WithoutDriver<Scheme> extends infer Base extends keyof Schemes
    ? Schemes[Base]
    : never

/** Not a literal: what is matched by it is known at run time only. */
type IsPattern<Text extends string> = Record<never, never> extends Record<Text, unknown> ? true : false

/** The type of a literal dburi in the compiler's error, when nobody opens its scheme. */
export interface UnknownScheme<Scheme extends string> {
  readonly unknownScheme: Scheme
}

/**
 * The driver of a dburi; `Otherwise` where its scheme is known at run time only. Each of `Named` is a scheme too.
 */
export type DriverFor<Text extends string, Otherwise, Named extends string = never> = Text extends unknown
  ? SchemeIn<WithoutPrefix<Text>> extends infer Scheme extends string
    ? [DriverOf<Scheme>] extends [never]
      ? IsPattern<Text> extends true
        ? Otherwise
        : Scheme extends Named
          ? Scheme
          : UnknownScheme<Scheme>
      : DriverOf<Scheme>
    : never
  : never

/** What each driver opens, and what any driver of a dialect does. */
export type Openers = Drivers & { readonly [D in Dialect]: Opens<D, HandleByDialect[D]> }

/** The adapters of managers that are given none: this package's, and those that are registered. */
const registered: NamedAdapter[] = Object.values(builtIn)

export const registeredAdapters: readonly NamedAdapter[] = registered

/**
 * Lets every manager of this process open a scheme of your own, but those that are given their `adapters`. The adapter is
 * loaded when it is first needed.
 * @throws DrizzleCeleryError with code `SCHEME_TAKEN` when the scheme is known already
 */
export function registerAdapter(
  scheme: string,
  { dialect, load }: { dialect: Dialect; load: () => Promise<Adapter> },
): void {
  if (!isSchemeName(scheme)) {
    throw new DrizzleCeleryError(
      'INVALID_SCHEME',
      'Cannot register an adapter: a scheme is a word in lower case, such as duckdb',
    )
  }
  if (isKnownScheme(scheme) || registered.some(({ driver }) => driver === scheme)) {
    const why = isKnownDriver(scheme) ? 'that is the name of a driver of this package' : 'it has one already'
    throw new DrizzleCeleryError('SCHEME_TAKEN', `Cannot register an adapter for "${scheme}:": ${why}`)
  }
  registered.push(loadedBy(scheme, dialect, load))
}

function loadedBy<Driver extends string, D extends Dialect, Db>(
  driver: Driver,
  dialect: D,
  load: () => Promise<Adapter<D, Db>>,
): NamedAdapter<Driver, D, Db> {
  return { driver, dialect, open: async (dburi, options) => (await load()).open(dburi, options) }
}
