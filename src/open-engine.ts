import type { AdapterOptions } from './adapter.ts'
import type { Dburi } from './dburi.ts'
import type { Dialect } from './dialect.ts'
import { resolveAdapter } from './dialect-resolver.ts'
import { Engine, type EngineOptions } from './engine.ts'
import { refuseUnless } from './option-text.ts'
import {
  checkSeconds,
  DEFAULT_POOL_OPTIONS,
  type PoolOptions,
  takePoolOptions,
  validatePoolOptions,
} from './pool-options.ts'
import { redactDburi } from './redact-dburi.ts'

const STATEMENT_CACHE_SIZE = 256

/** What the handles of an engine know of the models. */
export interface HandleOptions {
  readonly casing?: AdapterOptions['casing']
  readonly models?: { readonly [D in Dialect]?: Readonly<Record<string, unknown>> } | undefined
}

/**
 * Settles an engine's options and opens it; no connection is made yet.
 * @throws DburiError, OptionError, MissingDriverError
 */
export async function openEngine(
  dburi: Dburi,
  options: EngineOptions,
  { casing, models }: HandleOptions = {},
): Promise<Engine> {
  const { pooled = true, statementTimeout, statementCacheSize = STATEMENT_CACHE_SIZE, ...given } = options
  const { poolSize, maxOverflow, poolTimeout, poolRecycle, poolPrePing, ...adapterOptions } = given
  const fromOptions = { poolSize, maxOverflow, poolTimeout, poolRecycle, poolPrePing }
  validatePoolOptions(fromOptions)
  if (statementTimeout !== undefined) checkSeconds('statementTimeout', statementTimeout)
  refuseUnless(
    Number.isSafeInteger(statementCacheSize) && statementCacheSize >= 0,
    'statementCacheSize',
    'a whole number from 0',
  )
  const { pool: fromDburi, rest } = takePoolOptions(dburi.options)
  const pool = overrule(overrule(DEFAULT_POOL_OPTIONS, fromDburi), fromOptions)

  const { exposeParameters = false } = adapterOptions
  const adapter = await resolveAdapter(dburi)
  const known = models?.[adapter.dialect]
  const database = await adapter.open(
    { ...dburi, options: rest },
    {
      ...adapterOptions,
      exposeParameters,
      statementCacheSize,
      ...(casing && { casing }),
      ...(known && { models: known }),
    },
  )
  return new Engine({
    dialect: adapter.dialect,
    database,
    pool,
    pooled,
    statementTimeout,
    exposeParameters,
    name: redactDburi(dburi),
  })
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
  }
}
