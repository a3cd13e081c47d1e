import { redactDburi } from '../dburi/redact.ts'
import { optionsOf, withOptions } from '../dburi/secrets.ts'
import type { Dburi, Dialect } from '../dburi/types.ts'
import type { AdapterOptions, Database } from '../driver/types.ts'
import { OptionError } from '../errors.ts'
import { checkOptions } from '../options/check.ts'
import { DEFAULT_MAX_RESPONSE_BYTES, takeMaxResponseBytes } from '../options/max-response-bytes.ts'
import { DEFAULT_POOL_OPTIONS, type PoolOptions, takePoolOptions } from '../options/pool.ts'
import { together } from '../options/values.ts'
import { Engine } from './engine.ts'
import type { Origin } from './leaks.ts'
import { ENGINE_CHECKS, type EngineOptions } from './options.ts'
import { resolveAdapter } from './registry.ts'

const STATEMENT_CACHE_SIZE = 256

/** What the handles of an engine know of the models. */
export interface HandleOptions {
  readonly casing?: AdapterOptions['casing']
  readonly models?: { readonly [D in Dialect]?: Readonly<Record<string, unknown>> } | undefined
}

/**
 * Settles an engine's options and opens it; no connection is made yet.
 * @param origin where its manager was made
 * @throws DburiError, OptionError, MissingDriverError
 */
export async function openEngine(
  dburi: Dburi,
  options: EngineOptions,
  origin: Origin,
  { casing, models }: HandleOptions = {},
): Promise<Engine> {
  checkOptions('the engine', options, ENGINE_CHECKS)
  const { pooled = true, statementTimeout, statementCacheSize = STATEMENT_CACHE_SIZE, ...given } = options
  const { poolSize, maxOverflow, poolTimeout, poolRecycle, poolPrePing, idleTimeout, ...others } = given
  const { engineKey: _, ...adapterOptions } = others
  const fromOptions = { poolSize, maxOverflow, poolTimeout, poolRecycle, poolPrePing, idleTimeout }
  const { exposeParameters = false } = adapterOptions
  const adapter = await resolveAdapter(dburi)
  const known = models?.[adapter.dialect]
  const open = async (from: Dburi) => {
    const { maxResponseBytes = DEFAULT_MAX_RESPONSE_BYTES, rest: others } = takeMaxResponseBytes(from.options)
    const { pool, rest } = takePoolOptions(others, adapter.dialect)
    const database = await adapter.open(withOptions(from, rest), {
      ...adapterOptions,
      maxResponseBytes: adapterOptions.maxResponseBytes ?? maxResponseBytes,
      exposeParameters,
      statementCacheSize,
      ...(casing && { casing }),
      ...(known && { models: known }),
    })
    return { pool, database }
  }
  const { pool: fromDburi, database } = await open(dburi).catch(async (error: unknown) => {
    throw await withAllFaults(error, dburi, open)
  })
  const { idleTimeout: defaultIdleTimeout = DEFAULT_POOL_OPTIONS.idleTimeout } = database
  const defaults = { ...DEFAULT_POOL_OPTIONS, idleTimeout: defaultIdleTimeout }
  const pool = overrule(overrule(defaults, fromDburi), fromOptions)
  return new Engine({
    dialect: adapter.dialect,
    database,
    pool,
    pooled,
    statementTimeout,
    logger: adapterOptions.logger,
    exposeParameters,
    name: redactDburi(dburi),
    origin,
  })
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
    const wrong = error.option
    const options = optionsOf(left).filter(([name]) => name !== wrong)
    if (options.length === optionsOf(left).length) break
    left = withOptions(left, Object.fromEntries(options))
    error = await open(left).then(
      async ({ database }) => database.release?.(),
      (next: unknown) => next,
    )
  }
  return faults.length === 0 ? first : together(faults)
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
