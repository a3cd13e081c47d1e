import { dburiText } from '../dburi/parse.ts'
import type { Dialect } from '../dburi/types.ts'
import type { WithModels } from '../driver/dialect.ts'
import { EngineCache } from '../engine/cache.ts'
import type { DisposeOptions, Engine, EngineOptions, EngineStats } from '../engine/engine.ts'
import { originOf } from '../engine/leaks.ts'
import { DISPOSE_CHECKS, ENGINE_CHECKS } from '../engine/options.ts'
import type { Opens, OpensFor } from '../engine/registry.ts'
import { ClosedError, DrizzleCeleryError, OptionError } from '../errors.ts'
import {
  aFlag,
  aFunction,
  type Check,
  type Checks,
  check,
  checkOptions,
  isObject,
  oneOf,
  optionsLike,
} from '../options/check.ts'
import { invalid, unknown } from '../options/values.ts'
import type { PreparedModels } from '../schema/diff.ts'
import type { MigrationsOptions } from '../schema/migrate.ts'
import {
  CASINGS,
  DIFFERENCE_MODES,
  PREPARE_CHECKS,
  PREPARE_MODES,
  type PrepareMode,
  type PrepareOptions,
  type PrepareTarget,
} from '../schema/options.ts'
import { assertNoneMisplaced, SESSION_CHECKS, Session, type SessionOptions } from './session.ts'

/** The tables of each dialect, as they are exported for drizzle-kit. */
export type ModelsByDialect = { readonly [D in Dialect]?: Readonly<Record<string, unknown>> }

/** Celery's result tables. */
export interface ResultModelsByDialect extends ModelsByDialect {
  readonly postgresql: import('../models/postgresql.ts').ResultModels
  readonly mysql: import('../models/mysql.ts').ResultModels
  readonly sqlite: import('../models/sqlite.ts').ResultModels
}

type EngineOf<Opened> = Opened extends Opens<infer D, infer Db> ? Engine<D, Db> : never

type SessionOf<Opened, Models extends ModelsByDialect> =
  Opened extends Opens<infer D, infer Db> ? Session<D, HandleOf<Db, Models, D>, Models[D]> : never

/** Celery's tables have no relations: their handle stays Drizzle's own. */
type HandleOf<Db, Models extends ModelsByDialect, D extends Dialect> = ResultModelsByDialect extends Models
  ? Db
  : WithModels<Db, NonNullable<Models[D]>>

/** A dburi as it is given: as a text, or as a `URL` that is not a `file:` one. */
type DburiInput = string | URL

/** Nothing is known of what a `URL` opens. */
type OpenedBy<Input extends DburiInput> = OpensFor<Input extends string ? Input : string>

/** The engine of a dburi: exact for a literal, a union that `switch (engine.dialect)` narrows for a `string` or `URL`. */
export type EngineFor<Text extends DburiInput> = EngineOf<OpenedBy<Text>>

/** The session of a dburi, with the models of its dialect. */
export type SessionFor<
  Text extends DburiInput,
  Models extends ModelsByDialect = ResultModelsByDialect,
> = SessionOf<OpenedBy<Text>, Models>

/** A piece of work in a session of its own. */
export type Work<Text extends DburiInput, Models extends ModelsByDialect, Result> = (
  db: SessionFor<Text, Models>['db'],
  session: SessionFor<Text, Models>,
) => Promise<Result>

export interface SessionManagerOptions<Models extends ModelsByDialect> {
  /** The tables to look after. @default Celery's result tables */
  models?: Models
  /**
   * What is done to a database before its first session: create what is missing, add to it, check it, run migrations,
   * or nothing.
   * @default 'create'
   */
  prepare?: PrepareMode
  /**
   * What becomes of a difference between a database and the models that `prepare` leaves: it is in the report of
   * `prepareModels`, and may be a warning of the process or an error.
   * @default 'ignore'
   */
  onDifference?: 'ignore' | 'warn' | 'error'
  /** The drizzle-kit migrations of each dialect, for `prepare: 'migrate'`. */
  migrations?: { readonly [D in Dialect]?: MigrationsOptions }
  /**
   * The `casing` of drizzle-orm 0.45: how columns without a name of their own are called in the database, by handles and
   * by `prepareModels`.
   * @default as their keys
   */
  casing?: 'snake_case' | 'camelCase'
  /**
   * Keep connections open between sessions. `false` opens one for each use, as Celery does outside a forked worker.
   * @default true
   */
  pooled?: boolean
  /** Options for every engine; those given with a dburi overrule them. Celery's `database_engine_options`. */
  engineOptions?: Omit<EngineOptions, 'engineKey'>
  /**
   * Called with every engine that is opened, before anybody else gets it. When it throws, the engine is disposed of and
   * forgotten. Celery's `database_engine_callback`.
   */
  engineCallback?: (engine: Engine) => void | Promise<void>
  /**
   * How many engines to keep. Beyond it, those that nobody uses and that were not used for longest are disposed of.
   * @default no limit
   */
  maxEngines?: number
}

/** How a session is made; what is not the session's goes to its engine. */
export interface SessionFactoryOptions extends EngineOptions, SessionOptions {}

/** The counters of a manager. */
export interface SessionManagerStats {
  readonly engines: readonly EngineStats[]
}

/**
 * Opens databases by their dburis, keeps one engine for each, prepares the models in it once, and hands out sessions:
 * Celery's `celery.backends.database.session.SessionManager` on Drizzle.
 */
export class SessionManager<Models extends ModelsByDialect = ResultModelsByDialect>
  implements AsyncDisposable
{
  static readonly name: string = 'SessionManager'

  readonly #options: SessionManagerOptions<Models>
  readonly #engines: EngineCache
  readonly #prepared = new PromiseCache<Engine, PreparedModels>()
  /** The models of engines that are prepared: the quick way to a session. */
  readonly #ready = new WeakMap<Engine, Readonly<Record<string, unknown>>>()
  #disposed: Promise<void> | null = null

  /** @throws OptionError listing everything wrong with the options */
  constructor(options: SessionManagerOptions<Models> = {}) {
    checkOptions('SessionManager', options, MANAGER_CHECKS)
    this.#options = options
    const origin = originOf(SessionManager)
    this.#engines = new EngineCache({
      open: async (dburi, engineOptions) => {
        const { pooled = true } = this.#options
        const { openEngine } = await import('../engine/open.ts')
        const engine = await openEngine(
          dburi,
          { pooled, ...this.#options.engineOptions, ...engineOptions },
          origin,
          this.#options,
        )
        return this.#called(engine)
      },
      maxEngines: options.maxEngines ?? Number.POSITIVE_INFINITY,
    })
  }

  /**
   * The engine of a dburi, opened once for the same dburi and options; concurrent callers share one opening, and one
   * that fails is forgotten. It opens no connection yet. Celery's `get_engine`.
   * @throws DburiError, OptionError, MissingDriverError, ClosedError
   */
  getEngine<const Text extends DburiInput>(dburi: Text, options?: EngineOptions): Promise<EngineFor<Text>>
  getEngine(dburi: DburiInput, options?: EngineOptions): Promise<Engine> {
    try {
      this.#assertNotDisposed()
      checkOptions('getEngine', options, ENGINE_CHECKS)
      return this.#engines.get(dburiText(dburi), options)
    } catch (error) {
      return Promise.reject(error)
    }
  }

  /**
   * The engine of a dburi, and a function that makes sessions on it without preparing the models. Celery's
   * `create_session`; here `shortLivedSessions` gives each session a connection of its own, which is closed with it.
   */
  createSession<const Text extends DburiInput>(
    dburi: Text,
    options?: SessionFactoryOptions,
  ): Promise<{ engine: EngineFor<Text>; sessionMaker: () => SessionFor<Text, Models> }>
  async createSession(dburi: DburiInput, options?: SessionFactoryOptions): Promise<MadeEngine> {
    this.#assertNotDisposed()
    const { sessionOptions, engineOptions } = splitOptions('createSession', options)
    const engine = await this.#engines.get(dburiText(dburi), engineOptions)
    assertNoneMisplaced(engine.dialect, sessionOptions)
    const models = await this.#modelsOf(engine)
    return {
      engine: engine.within(sessionOptions),
      sessionMaker: () => new Session(engine, models, sessionOptions),
    }
  }

  /**
   * Brings a database up to the models, as the manager's `prepare` says; it never alters or drops what is there. Done
   * once for each engine: concurrent callers share the work, and a failure is forgotten. With options of its own it
   * looks again, whatever was done before. Celery's `prepare_models`.
   * @throws SchemaError, ConnectError, OptionError
   */
  async prepareModels(engine: Engine, options?: PrepareOptions): Promise<PreparedModels> {
    checkOptions('prepareModels', options, PREPARE_CHECKS)
    if (!isObject(engine) || !('origin' in engine)) {
      const reason = 'an engine of a manager, as getEngine() gives one'
      throw invalid('engine', typeof engine === 'string' ? `${reason}, and not a dburi` : reason)
    }
    const models = await this.#modelsOf(engine)
    const { prepareModels } = await import('../schema/prepare.ts')
    const own = this.#prepareOptions(engine)
    // Whatever is looked at besides, a session waits for what the manager itself is to prepare.
    if (options !== undefined) {
      const asked: PrepareOptions = given(options, Object.keys(PREPARE_CHECKS))
      return prepareModels(asTarget(engine), models, { ...own, ...asked })
    }
    return this.#prepared.get(engine.origin, async () => {
      const report = await prepareModels(asTarget(engine), models, own)
      this.#ready.set(engine.origin, models)
      return report
    })
  }

  /** A session on a database whose models are prepared. Celery's `session_factory`. */
  sessionFactory<const Text extends DburiInput>(
    dburi: Text,
    options?: SessionFactoryOptions,
  ): Promise<SessionFor<Text, Models>>
  sessionFactory(dburi: DburiInput, options?: SessionFactoryOptions): Promise<Session> {
    return this.#open('sessionFactory', dburi, options)
  }

  /** Runs `work` in a session: commits when it returns, rolls back when it throws, and closes either way. */
  session<const Text extends DburiInput, Result>(
    dburi: Text,
    work: Work<Text, Models, Result>,
  ): Promise<Result>
  session<const Text extends DburiInput, Result>(
    dburi: Text,
    options: SessionFactoryOptions,
    work: Work<Text, Models, Result>,
  ): Promise<Result>
  async session(
    dburi: DburiInput,
    first?: AnyWork | SessionFactoryOptions,
    ...more: unknown[]
  ): Promise<unknown> {
    const [options, [work, ...over]] = isWork(first) ? [undefined, [first, ...more]] : [first, more]
    if (!isWork(work) || over.some((argument) => argument !== undefined)) throw wrongOrder()
    const session = await this.#open('session', dburi, options)
    try {
      const result = await work(session.db, session)
      await session.commit()
      return result
    } finally {
      await session.close()
    }
  }

  /**
   * Forgets the engines of a dburi, whatever their options, and what was prepared in them. Who uses one may finish; who
   * comes later gets a new one. Does nothing for a dburi that is not known. Celery's `invalidate`.
   */
  async invalidate(dburi: DburiInput, options?: DisposeOptions): Promise<void> {
    checkOptions('invalidate', options, DISPOSE_CHECKS)
    await this.#engines.forget(dburiText(dburi), options)
  }

  /** Closes every engine; whatever comes later is refused. Safe to call twice. */
  dispose(options?: DisposeOptions): Promise<void> {
    try {
      checkOptions('dispose', options, DISPOSE_CHECKS)
    } catch (error) {
      return Promise.reject(error)
    }
    this.#disposed ??= this.#engines.forgetAll(options)
    return this.#disposed
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose()
  }

  /** The counters of the engines that are open. */
  stats(): SessionManagerStats {
    return { engines: this.#engines.engines().map((engine) => engine.stats()) }
  }

  /** Safe to print: no password. */
  toJSON(): SessionManagerStats {
    return this.stats()
  }

  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return `SessionManager(${this.#engines.size} engines${this.#disposed === null ? '' : ', disposed'})`
  }

  async #open(of: string, dburi: DburiInput, options: SessionFactoryOptions | undefined): Promise<Session> {
    const { sessionOptions, engineOptions } = splitOptions(of, options)
    const text = dburiText(dburi)
    for (let attempt = 1; ; attempt++) {
      this.#assertNotDisposed()
      try {
        return await this.#engines.use(text, engineOptions, (engine) =>
          this.#sessionOn(engine, sessionOptions),
        )
      } catch (error) {
        // Somebody disposed of the engine meanwhile: there will be another one.
        if (!(error instanceof ClosedError) || attempt === ATTEMPTS) throw error
      }
    }
  }

  async #sessionOn(engine: Engine, options: SessionOptions): Promise<Session> {
    assertNoneMisplaced(engine.dialect, options)
    let models = this.#ready.get(engine)
    if (models === undefined) {
      await this.prepareModels(engine.within({ logger: options.logger }))
      models = await this.#modelsOf(engine)
    }
    if (engine.isDisposed) throw new ClosedError('engine')
    return new Session(engine, models, options)
  }

  #prepareOptions({ dialect }: Engine): PrepareOptions {
    const { prepare, onDifference, migrations, casing } = this.#options
    return { prepare, onDifference, casing, migrations: migrations?.[dialect] }
  }

  async #called(engine: Engine): Promise<Engine> {
    try {
      await this.#options.engineCallback?.(engine)
      return engine
    } catch (error) {
      await engine.dispose({ grace: 0 })
      throw error
    }
  }

  async #modelsOf({ dialect }: Engine): Promise<Readonly<Record<string, unknown>>> {
    const models =
      this.#options.models === undefined ? await resultModels(dialect) : this.#options.models[dialect]
    if (models !== undefined) return models
    throw new DrizzleCeleryError(
      'NO_MODELS',
      `Cannot open a session on a ${dialect} database: this manager has no models for that dialect. ` +
        `Give them as new SessionManager({ models: { ${dialect}: … } }).`,
    )
  }

  #assertNotDisposed(): void {
    if (this.#disposed !== null) throw new ClosedError('session manager')
  }
}

function isWork(work: unknown): work is AnyWork {
  return typeof work === 'function'
}

interface MadeEngine {
  readonly engine: Engine
  readonly sessionMaker: () => Session
}

// biome-ignore lint/suspicious/noExplicitAny: the overloads say what `work` is given; here it is any dialect's
type AnyWork = (db: any, session: any) => Promise<unknown>

type LoadedModels = Readonly<Record<string, unknown>>

const loadResultModels: Readonly<Record<Dialect, () => Promise<LoadedModels>>> = {
  postgresql: async () => (await import('../models/postgresql.ts')).resultModels(),
  sqlite: async () => (await import('../models/sqlite.ts')).resultModels(),
  mysql: async () => (await import('../models/mysql.ts')).resultModels(),
}

const resultModelsOf = new Map<Dialect, Promise<LoadedModels>>()

/** Celery's tables, loaded with the part of Drizzle they are made of when a dialect is first used. */
function resultModels(dialect: Dialect): Promise<LoadedModels> {
  const models = resultModelsOf.get(dialect) ?? loadResultModels[dialect]()
  resultModelsOf.set(dialect, models)
  return models
}

/** An engine's dialect decides the type of its `db`, which the compiler cannot see in a union. */
function asTarget(engine: Engine): PrepareTarget {
  return engine as Engine & PrepareTarget
}

interface SplitOptions {
  readonly sessionOptions: SessionOptions
  readonly engineOptions: EngineOptions | undefined
}

const NO_OPTIONS: SplitOptions = { sessionOptions: {}, engineOptions: undefined }

function splitOptions(of: string, options: SessionFactoryOptions | undefined): SplitOptions {
  if (options === undefined) return NO_OPTIONS
  checkOptions(of, options, FACTORY_CHECKS)
  const engineOptions: EngineOptions = given(options, ENGINE_OPTIONS)
  return {
    sessionOptions: given(options, SESSION_OPTIONS),
    engineOptions: Object.keys(engineOptions).length === 0 ? undefined : engineOptions,
  }
}

/** Those of these options that say something. */
function given(options: object, names: readonly string[]): object {
  const all = names.map((name) => [name, Reflect.get(options, name)])
  return Object.fromEntries(all.filter(([, value]) => value !== undefined))
}

const FACTORY_CHECKS: Checks<SessionFactoryOptions> = { ...ENGINE_CHECKS, ...SESSION_CHECKS }

const SESSION_OPTIONS = Object.keys(SESSION_CHECKS)

/** What makes another engine; what a session may have for itself does not. */
const ENGINE_OPTIONS = Object.keys(ENGINE_CHECKS).filter((name) => !SESSION_OPTIONS.includes(name))

/** How often a session is tried on engines that are disposed of meanwhile. */
const ATTEMPTS = 3

function wrongOrder(): OptionError {
  return new OptionError(
    'INVALID_OPTION',
    'work',
    'Cannot run a session: its work must be a function and comes last, as in ' +
      'session(dburi, options, async (db) => …) or session(dburi, async (db) => …)',
  )
}

const DIALECTS: readonly string[] = ['postgresql', 'mysql', 'sqlite'] satisfies Dialect[]

/** An object with something for each dialect. */
function byDialect(each: Check, example: string): Check {
  const aRecord = check(isObject, `an object with a property for each dialect, as in ${example}`)
  return (name, value) => {
    if (!isObject(value)) return aRecord(name, value)
    const known = DIALECTS.map((dialect) => `${name}.${dialect}`)
    const entries = Object.entries(value).filter(([, its]) => its !== undefined)
    if (entries.length > 0 && !entries.some(([dialect]) => DIALECTS.includes(dialect)))
      return [invalid(name, `an object with a property for each dialect, as in ${example}`)]
    return entries.flatMap(([dialect, its]) =>
      DIALECTS.includes(dialect) ? each(`${name}.${dialect}`, its) : [unknown(`${name}.${dialect}`, known)],
    )
  }
}

/** What every engine may have: a key is for one of them. */
const { engineKey: _, ...COMMON_CHECKS } = ENGINE_CHECKS

const MANAGER_CHECKS: Checks<SessionManagerOptions<ModelsByDialect>> = {
  models: byDialect(
    check(isObject, 'an object that has the tables as its properties'),
    '{ postgresql: schema }',
  ),
  prepare: oneOf(...PREPARE_MODES),
  onDifference: oneOf(...DIFFERENCE_MODES),
  // What is in them is checked where they are used.
  migrations: byDialect(
    check(isObject, 'an object with the folder of the migrations'),
    "{ postgresql: { folder: './drizzle' } }",
  ),
  casing: oneOf(...CASINGS),
  pooled: aFlag,
  engineOptions: optionsLike(COMMON_CHECKS),
  engineCallback: aFunction,
  maxEngines: check(
    (value) => value === Number.POSITIVE_INFINITY || (Number.isSafeInteger(value) && Number(value) >= 1),
    'a whole number from 1, or Infinity',
  ),
}

/**
 * One promise for each key: concurrent callers share it, and one that rejects is forgotten, so that the next caller tries
 * again. A key that nobody else holds takes its promise along.
 */
class PromiseCache<Key extends object, Value> {
  readonly #promises = new WeakMap<Key, Promise<Value>>()

  get(key: Key, create: () => Promise<Value>): Promise<Value> {
    const known = this.#promises.get(key)
    if (known !== undefined) return known

    const promise = create()
    this.#promises.set(key, promise)
    promise.catch(() => this.#promises.delete(key))
    return promise
  }
}
