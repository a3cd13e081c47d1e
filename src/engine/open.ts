import { redactDburi } from '../dburi/redact.ts'
import { rowOf } from '../dburi/schemes.ts'
import { optionsOf, withOptions } from '../dburi/secrets.ts'
import type { Dburi, Dialect } from '../dburi/types.ts'
import type { Adapter, AdapterOptions, Database } from '../driver/types.ts'
import { OptionError } from '../errors.ts'
import { checkOptions } from '../options/check.ts'
import { DEFAULT_MAX_RESPONSE_BYTES, takeMaxResponseBytes } from '../options/max-response-bytes.ts'
import { DEFAULT_POOL_OPTIONS, type PoolOptions, takePoolOptions } from '../options/pool.ts'
import { takeStatementTimeout } from '../options/statement-timeout.ts'
import { refused, together, toPlain } from '../options/values.ts'
import type { DatabaseContext } from '../tracing/contexts.ts'
import { Engine } from './engine.ts'
import type { Origin } from './leaks.ts'
import { ENGINE_CHECKS, type EngineOptions } from './options.ts'
import { scopedCache } from './scoped-cache.ts'

const STATEMENT_CACHE_SIZE = 256

/** By what an engine is opened, and what its handles know of the models. */
export interface OpeningOptions {
  readonly adapter: Adapter
  readonly casing?: AdapterOptions['casing']
  readonly models?: { readonly [D in Dialect]?: Readonly<Record<string, unknown>> } | undefined
}

/**
 * Settles an engine's options and opens it; no connection is made yet.
 * @param origin where its manager was made
 * @throws OptionError, MissingDriverError
 */
export async function openEngine(
  dburi: Dburi,
  options: EngineOptions,
  origin: Origin,
  { adapter, casing, models }: OpeningOptions,
): Promise<Engine> {
  checkOptions('the engine', options, ENGINE_CHECKS)
  const { pooled = true, statementTimeout, statementCacheSize = STATEMENT_CACHE_SIZE, ...given } = options
  const { poolSize, maxOverflow, poolTimeout, poolRecycle, poolPrePing, idleTimeout, ...others } = given
  const { engineKey: _, onConnect, logger, slowStatement, ...adapterOptions } = others
  const drizzleLogger = logger === 'pretty' ? undefined : logger
  const fromOptions = { poolSize, maxOverflow, poolTimeout, poolRecycle, poolPrePing, idleTimeout }
  const { exposeParameters = false, cache } = adapterOptions
  const known = models?.[adapter.dialect]
  const open = async (from: Dburi) => {
    const { maxResponseBytes = DEFAULT_MAX_RESPONSE_BYTES, rest: others } = takeMaxResponseBytes(from.options)
    const { statementTimeout, rest: more } = takeStatementTimeout(others, adapter.dialect)
    const { pool, rest } = takePoolOptions(more, adapter.dialect)
    const database = await adapter.open(withOptions(from, rest), {
      ...adapterOptions,
      logger: drizzleLogger,
      cache: cache && scopedCache(cache, dburi, options),
      maxResponseBytes: adapterOptions.maxResponseBytes ?? maxResponseBytes,
      exposeParameters,
      statementCacheSize,
      ...(casing && { casing }),
      ...(known && { models: known }),
    })
    return { pool, database, statementTimeout }
  }
  const {
    pool: fromDburi,
    database,
    statementTimeout: timeoutOfDburi,
  } = await open(dburi).catch(async (error: unknown) => {
    throw await withAllFaults(error, dburi, open)
  })
  if (onConnect !== undefined && database.withoutSession !== undefined) {
    await database.release?.()
    throw refused('onConnect', database.withoutSession)
  }
  const { idleTimeout: defaultIdleTimeout = DEFAULT_POOL_OPTIONS.idleTimeout } = database
  const defaults = { ...DEFAULT_POOL_OPTIONS, idleTimeout: defaultIdleTimeout }
  const pool = overrule(overrule(defaults, fromDburi), fromOptions)
  const engine = new Engine({
    dialect: adapter.dialect,
    database,
    pool,
    pooled,
    statementTimeout: statementTimeout ?? timeoutOfDburi,
    onConnect,
    logger: drizzleLogger,
    exposeParameters,
    seenAs: seenAs(adapter.dialect, dburi),
    origin,
  })
  if (logger === 'pretty') engine.print(slowStatement)
  return engine
}

/** Where the environment names the host, it is known once there is a connection. */
function seenAs(dialect: Dialect, dburi: Dburi): DatabaseContext {
  const { database, socket, host, hosts, port, memory } = dburi
  const serverAddress = socket ?? hosts?.[0]?.host ?? host
  const [, row] = rowOf(dburi) ?? []
  const isPort = socket === undefined && serverAddress !== null
  const serverPort = isPort ? (hosts?.[0]?.port ?? port ?? row?.defaultPort ?? null) : null
  return { dialect, dburi: redactDburi(dburi), database: memory ? null : database, serverAddress, serverPort }
}

/**
 * Everything wrong with the options of a dburi, once one of them is: opening stops at the first, so it is tried
 * again without that one.
 */
async function withAllFaults(
  first: unknown,
  dburi: Dburi,
  open: (dburi: Dburi) => Promise<{ database: Database<unknown> }>,
): Promise<unknown> {
  const faults: OptionError[] = []
  let left = dburi
  for (let error = first; error instanceof OptionError; ) {
    faults.push(error)
    const given = optionsOf(left).map(([name]) => name)
    const written = error.faults.map(({ option }) => spellingsOf(option, given))
    // One that is no option by itself, but a part of one, cannot be left out.
    if (written.some((names) => names.length === 0)) break
    const options = optionsOf(left).filter(([name]) => !written.flat().includes(name))
    left = withOptions(left, Object.fromEntries(options))
    error = await open(left).then(
      async ({ database }) => database.release?.(),
      (next: unknown) => next,
    )
  }
  return faults.length === 0 ? first : together(faults)
}

/** An adapter may name an option as it is called there, whatever its spelling. */
function spellingsOf(option: string, given: readonly string[]): string[] {
  return given.includes(option) ? [option] : given.filter((name) => toPlain(name) === toPlain(option))
}

/** What `over` says wins; what it leaves undefined does not count. */
function overrule(
  under: PoolOptions,
  over: { readonly [Name in keyof PoolOptions]?: PoolOptions[Name] | undefined },
): PoolOptions {
  return {
    poolSize: over.poolSize ?? under.poolSize,
    maxOverflow: over.maxOverflow ?? under.maxOverflow,
    poolTimeout: over.poolTimeout ?? under.poolTimeout,
    poolRecycle: over.poolRecycle ?? under.poolRecycle,
    poolPrePing: over.poolPrePing ?? under.poolPrePing,
    idleTimeout: over.idleTimeout ?? under.idleTimeout,
  }
}
