import { dburiText, parseDburi } from '../dburi/parse.ts'
import { redactDburi } from '../dburi/redact.ts'
import type { Dburi, Dialect } from '../dburi/types.ts'
import type { NamedAdapter } from '../driver/types.ts'
import { A_LIST_OF_ADAPTERS, adapterOf, schemesOf } from '../engine/adapters.ts'
import { EngineCache } from '../engine/cache.ts'
import type { DisposeOptions, Engine, EngineOptions, EngineStats } from '../engine/engine.ts'
import { type Origin, originOf } from '../engine/leaks.ts'
import { DISPOSE_CHECKS, ENGINE_CHECKS } from '../engine/options.ts'
import { PING_CHECKS, type PingOptions } from '../engine/ping.ts'
import { ClosedError, DrizzleCeleryError, OptionError } from '../errors.ts'
import { resultModelsOf } from '../models/by-dialect.ts'
import { checkOptions, isObject } from '../options/check.ts'
import { invalid } from '../options/values.ts'
import type { PreparedModels } from '../schema/diff.ts'
import { PREPARE_CHECKS, type PrepareOptions } from '../schema/options.ts'
import { channels, seen } from '../tracing/channels.ts'
import { type AnyWork, runWork } from './attempts.ts'
import { type Health, healthOf } from './health.ts'
import { MANAGER_CHECKS, type SessionManagerOptions } from './manager-options.ts'
import {
  definedOnly,
  type SessionFactoryOptions,
  type SessionWorkOptions,
  type SplitOptions,
  splitOptions,
  splitWorkOptions,
} from './options.ts'
import { preparing } from './preparing.ts'
import { assertAgrees, runJoined, SessionContext } from './propagation.ts'
import { assertNoneMisplaced, Session, type SessionOptions } from './session.ts'
import type {
  DburiInput,
  EngineFor,
  ModelsByDialect,
  Opened,
  ResultModelsByDialect,
  SessionFor,
  Work,
} from './types.ts'

/** The counters of a manager. */
export interface SessionManagerStats {
  readonly engines: readonly EngineStats[]
}

/**
 * Opens databases by their dburis, keeps one engine for each, prepares the models in it once, and hands out sessions:
 * Celery's `celery.backends.database.session.SessionManager` on Drizzle. This one, of `drizzle-celery/core`, knows only the
 * adapters that it is given.
 */
export class CoreSessionManager<
  Models extends ModelsByDialect = ResultModelsByDialect,
  Known extends NamedAdapter = NamedAdapter,
> implements AsyncDisposable
{
  static readonly name: string = 'SessionManager'

  /** The adapters where none are given. */
  protected static readonly adapters: readonly NamedAdapter[] | undefined

  readonly #options: SessionManagerOptions<Models, Known>
  readonly #adapters: readonly NamedAdapter[]
  readonly #engines: EngineCache
  readonly #prepared = new PromiseCache<Engine, PreparedModels>()
  /** The models of engines that are prepared: the quick way to a session. */
  readonly #ready = new WeakMap<Engine, Readonly<Record<string, unknown>>>()
  readonly #context = new SessionContext()
  #disposed: Promise<void> | null = null

  /** @throws OptionError listing everything wrong with the options */
  constructor(options: SessionManagerOptions<Models, Known> & { readonly adapters: readonly Known[] }) {
    checkOptions('SessionManager', options, MANAGER_CHECKS)
    const adapters = options?.adapters ?? new.target.adapters
    if (adapters === undefined) throw invalid('adapters', A_LIST_OF_ADAPTERS)
    this.#adapters = adapters
    this.#options = options
    const origin = originOf(new.target)
    this.#engines = new EngineCache({
      parse: (text) => this.parse(text),
      open: async (dburi, engineOptions) => {
        this.#assertModels(dburi.dialect)
        const { pooled = true, engineOptions: common = {} } = this.#options
        const adapter = adapterOf(adapters, dburi)
        const { openEngine } = await import('../engine/open.ts')
        const engine = await openEngine(
          dburi,
          { pooled, ...definedOnly(common), ...definedOnly(engineOptions) },
          origin,
          { ...this.#options, adapter },
        )
        return this.#called(engine)
      },
      maxEngines: options.maxEngines ?? Number.POSITIVE_INFINITY,
    })
  }

  /**
   * The engine of a dburi, opened once for the same dburi and options; concurrent callers share one opening, and one
   * that fails is forgotten. It opens no connection yet. Celery's `get_engine`.
   * @throws DburiError, OptionError, MissingDriverError, ClosedError; DrizzleCeleryError with code `NO_MODELS` for a
   * dialect that the manager has no models of
   */
  getEngine<const Text extends DburiInput>(
    dburi: Opened<Text, Models, Known>,
    options?: EngineOptions,
  ): Promise<EngineFor<Text, Models, Known>>
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
    dburi: Opened<Text, Models, Known>,
    options?: SessionFactoryOptions,
  ): Promise<{ engine: EngineFor<Text, Models, Known>; sessionMaker: () => SessionFor<Text, Models, Known> }>
  async createSession(dburi: DburiInput, options?: SessionFactoryOptions): Promise<MadeEngine> {
    this.#assertNotDisposed()
    const { sessionOptions, engineOptions } = splitOptions('createSession', options)
    const engine = await this.#engines.get(dburiText(dburi), engineOptions)
    assertNoneMisplaced(engine.dialect, sessionOptions)
    const models = await this.#modelsOf(engine)
    return {
      engine: engine.within(sessionOptions),
      sessionMaker: () => this.#sessionAs(engine, models, sessionOptions),
    }
  }

  /**
   * Brings a database up to the models, as the manager's `prepare` says; it never alters or drops what is there. Done
   * once for each engine: concurrent callers share the work, and a failure is forgotten. With options of its own it
   * runs again. Celery's `prepare_models`.
   * @throws SchemaError, ConnectError, OptionError
   */
  async prepareModels(engine: Engine, options?: PrepareOptions): Promise<PreparedModels> {
    checkOptions('prepareModels', options, PREPARE_CHECKS)
    if (!isObject(engine) || !('origin' in engine)) {
      const reason = 'an engine of a manager, as getEngine() gives one'
      throw invalid('engine', typeof engine === 'string' ? `${reason}, and not a dburi` : reason)
    }
    const models = await this.#modelsOf(engine)
    const own = this.#prepareOptions(engine)
    // Not cached: sessions wait for a preparation with the manager's own options.
    if (options !== undefined) {
      const asked: PrepareOptions = definedOnly(options, Object.keys(PREPARE_CHECKS))
      return preparing(engine, models, { ...own, ...asked })
    }
    return this.#prepared.get(engine.origin, async () => {
      const report = await preparing(engine, models, own)
      this.#ready.set(engine.origin, models)
      return report
    })
  }

  /** A session on a database whose models are prepared. Celery's `session_factory`. */
  sessionFactory<const Text extends DburiInput>(
    dburi: Opened<Text, Models, Known>,
    options?: SessionFactoryOptions,
  ): Promise<SessionFor<Text, Models, Known>>
  async sessionFactory(dburi: DburiInput, options?: SessionFactoryOptions): Promise<Session> {
    const text = dburiText(dburi)
    const split = splitOptions('sessionFactory', options)
    return this.#openNow(text, split) ?? (await this.#open(text, split))
  }

  /**
   * Runs `work` in a session: commits when it returns, rolls back when it throws, and closes either way. What it calls
   * finds the session by `current()`, and may join it; see `propagation`.
   * @throws what `work` throws, and what `sessionFactory()` and `commit()` throw; PendingRollbackError when work that
   * joined the session has failed
   */
  session<const Text extends DburiInput, Result>(
    dburi: Opened<Text, Models, Known>,
    work: Work<Text, Models, Known, Result>,
  ): Promise<Result>
  session<const Text extends DburiInput, Result>(
    dburi: Opened<Text, Models, Known>,
    options: SessionWorkOptions,
    work: Work<Text, Models, Known, Result>,
  ): Promise<Result>
  async session(
    dburi: DburiInput,
    first?: AnyWork | SessionWorkOptions,
    ...more: unknown[]
  ): Promise<unknown> {
    const [options, [work, ...over]] = isWork(first) ? [undefined, [first, ...more]] : [first, more]
    if (!isWork(work) || over.some((argument) => argument !== undefined)) throw wrongOrder()
    const split = splitWorkOptions(options)
    const { sessionOptions, engineOptions, attempts } = split
    const { propagation = this.#options.propagation ?? 'new' } = split
    const text = dburiText(dburi)
    const outer =
      propagation === 'new'
        ? null
        : await this.#engines.use(text, engineOptions, async (engine) => this.#context.on(engine))
    if (outer !== null) assertAgrees(outer, { ...sessionOptions, attempts })
    if (outer !== null && propagation === 'join') return runJoined(outer, sessionOptions, work)
    // `null`: it is closed behind its work, so nobody would want to know where it was made.
    const open = () =>
      outer === null
        ? (this.#openNow(text, split, null) ?? this.#open(text, split, null))
        : new Session(outer.engine, outer.models, sessionOptions, outer, null)
    const known: AnyWork = (db, session, attempt) =>
      this.#context.run(session, text, () => work(db, session, attempt))
    return await seen(
      channels.session,
      () => ({ dburi: redactDburi(text) }),
      () => runWork(open, known, { attempts, signal: sessionOptions.signal }),
    )
  }

  /**
   * The session whose work this is called within: that of the innermost `session()` on the dburi, whatever its other
   * options, until its work settles. SQLAlchemy's `scoped_session`.
   * @throws DrizzleCeleryError with code `NO_SESSION` outside of any
   */
  current<const Text extends DburiInput>(dburi: Opened<Text, Models, Known>): SessionFor<Text, Models, Known>
  current(dburi: DburiInput): Session {
    const text = dburiText(dburi)
    return this.#context.of(text, (other) => this.#engines.keyOf(other) === this.#engines.keyOf(text))
  }

  /**
   * Forgets the engines of a dburi, whatever their options, and what was prepared in them. Current users may
   * finish; later ones get a new engine. Does nothing for a dburi that is not known. Celery's `invalidate`.
   */
  async invalidate(dburi: DburiInput, options?: DisposeOptions): Promise<void> {
    checkOptions('invalidate', options, DISPOSE_CHECKS)
    await this.#engines.forget(dburiText(dburi), options)
  }

  /** Closes every engine and refuses later calls. Safe to call twice. */
  dispose(options?: DisposeOptions): Promise<void> {
    try {
      checkOptions('dispose', options, DISPOSE_CHECKS)
    } catch (error) {
      return Promise.reject(error)
    }
    this.#disposed ??= this.#engines.forgetAll(options)
    return this.#disposed
  }

  /** For `await using`: `dispose()`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose()
  }

  /** What a dburi says, as this manager opens it. @internal */
  parse(dburi: string): Dburi {
    return parseDburi(dburi, schemesOf(this.#adapters))
  }

  /** The counters of the engines that are open. */
  stats(): SessionManagerStats {
    return { engines: this.#engines.engines().map((engine) => engine.stats()) }
  }

  /**
   * Pings the databases whose engines are open, all at once, for readiness probes. It does not reject for what is wrong
   * with them.
   * @throws OptionError
   */
  async health(options: PingOptions = {}): Promise<Health> {
    checkOptions('health', options, PING_CHECKS)
    return this.#disposed === null
      ? healthOf(this.#engines.engines(), options)
      : { isHealthy: false, engines: [] }
  }

  /** Safe to print: no password. */
  toJSON(): SessionManagerStats {
    return this.stats()
  }

  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return `SessionManager(${this.#engines.size} engines${this.#disposed === null ? '' : ', disposed'})`
  }

  /** A session without waiting for anything, where the engine is open and its models prepared. */
  #openNow(
    text: string,
    { sessionOptions, engineOptions }: SplitOptions,
    origin?: Origin | null,
  ): Session | null {
    const engine = engineOptions === undefined ? this.#engines.opened(text) : null
    const models = engine === null ? undefined : this.#ready.get(engine)
    if (engine === null || models === undefined || engine.isDisposed) return null
    return this.#sessionAs(engine, models, sessionOptions, origin)
  }

  async #open(
    text: string,
    { sessionOptions, engineOptions }: SplitOptions,
    origin?: Origin | null,
  ): Promise<Session> {
    for (let attempt = 1; ; attempt++) {
      this.#assertNotDisposed()
      try {
        return await this.#engines.use(text, engineOptions, (engine) =>
          this.#sessionOn(engine, sessionOptions, origin),
        )
      } catch (error) {
        // The engine was disposed of meanwhile: the next attempt opens another.
        if (!(error instanceof ClosedError) || attempt === ATTEMPTS) throw error
      }
    }
  }

  async #sessionOn(engine: Engine, options: SessionOptions, origin?: Origin | null): Promise<Session> {
    assertNoneMisplaced(engine.dialect, options)
    let models = this.#ready.get(engine)
    if (models === undefined) {
      await this.prepareModels(engine.within({ logger: options.logger }))
      models = await this.#modelsOf(engine)
    }
    if (engine.isDisposed) throw new ClosedError('engine')
    return this.#sessionAs(engine, models, options, origin)
  }

  /** Within the one that stands for all others, where a test has begun it. */
  #sessionAs(
    engine: Engine,
    models: Readonly<Record<string, unknown>>,
    options: SessionOptions,
    origin?: Origin | null,
  ): Session {
    return new Session(engine, models, options, this.#context.within(engine), origin)
  }

  /**
   * Opens a session that all others of its engine are savepoints in, until it is closed by the function beside it. For
   * `drizzle-celery/testing`. @internal
   */
  openRoot<const Text extends DburiInput>(
    dburi: Opened<Text, Models, Known>,
  ): Promise<Root<SessionFor<Text, Models, Known>>>
  async openRoot(dburi: DburiInput): Promise<Root<Session>> {
    const text = dburiText(dburi)
    const session = await this.#open(text, splitOptions('testSessions', undefined))
    const forget = this.#context.adopt(session, text)
    session.engine.redirect(() => session.scope())
    const close = () => {
      forget()
      session.engine.redirect(null)
      return session.close()
    }
    return { session, close }
  }

  /** Whether it makes what is missing in a database. @internal */
  get creates(): boolean {
    const { prepare } = this.#options
    return prepare !== 'none' && prepare !== 'check'
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
    this.#assertModels(dialect)
    return this.#options.models?.[dialect] ?? resultModelsOf(dialect)
  }

  #assertModels(dialect: Dialect): void {
    const { models } = this.#options
    if (models === undefined || models[dialect] !== undefined) return
    const known = Object.entries(models).flatMap(([name, its]) => (its === undefined ? [] : [name]))
    throw new DrizzleCeleryError(
      'NO_MODELS',
      `Cannot open a ${dialect} database: this manager has models only for ${known.join(' and ') || 'nothing'}. ` +
        `Give it those of ${dialect} too, as in new SessionManager({ models: { ${dialect}: … } }).`,
    )
  }

  #assertNotDisposed(): void {
    if (this.#disposed !== null) throw new ClosedError('session manager')
  }
}

function isWork(work: unknown): work is AnyWork {
  return typeof work === 'function'
}

/** A session that stands for all others of its engine, and what ends that. */
export interface Root<S> {
  readonly session: S
  close(): Promise<void>
}

interface MadeEngine {
  readonly engine: Engine
  readonly sessionMaker: () => Session
}

/** How often a session is opened again because its engine was disposed of. */
const ATTEMPTS = 3

function wrongOrder(): OptionError {
  return new OptionError(
    'INVALID_OPTION',
    'work',
    'Cannot run a session: its work must be a function and comes last, as in ' +
      'session(dburi, options, async (db) => …) or session(dburi, async (db) => …)',
  )
}

/**
 * One promise for each key: concurrent callers share it, and one that rejects is forgotten, so that the next caller tries
 * again. Keys are held weakly.
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
