import type { Cache } from 'drizzle-orm/cache/core'
import type { AdapterOptions, DrizzleLogger, Executor, Transaction, TransactionOptions } from './types.ts'

/** What Drizzle's factories take beside the client. 0.45 takes the schema for relational queries, 1.0 the relations. */
export interface DrizzleConfig {
  readonly logger?: NonNullable<AdapterOptions['logger']>
  readonly casing?: NonNullable<AdapterOptions['casing']>
  readonly cache?: Cache
  readonly schema?: Record<string, unknown>
  readonly relations?: Record<string, never>
  readonly paramsInErrors?: true
  /** MySQL: how relational queries of 0.45 join. */
  readonly mode?: 'default' | 'planetscale'
}

/** The part of an adapter's options that is Drizzle's own. */
export function drizzleConfig({
  logger,
  casing,
  cache,
  models,
  exposeParameters,
}: AdapterOptions): DrizzleConfig {
  const relations = models && Object.values(models).find(isRelations)
  return {
    ...(logger && { logger }),
    ...(casing && { casing }),
    ...(cache && { cache }),
    ...(models && { schema: models }),
    ...(relations && { relations }),
    // 1.0 hides them by itself; 0.45 never does, so that the engine does.
    ...(exposeParameters && { paramsInErrors: true }),
  }
}

/**
 * The same for one handle: with another logger, where there is one, and with a cache that answers selects only where they may be
 * cached.
 */
export function withLogger<Config extends DrizzleConfig>(
  config: Config,
  logger: DrizzleLogger | undefined,
  cachesReads = false,
): Config {
  const { cache } = config
  return {
    ...config,
    ...(logger !== undefined && { logger }),
    ...(cache !== undefined && !cachesReads && { cache: onlyInvalidating(cache) }),
  }
}

/** Still an instance of its class, by which Drizzle knows caches. What has private fields is called on the original. */
function onlyInvalidating(cache: Cache): Cache {
  const own: Pick<Cache, 'strategy' | 'get' | 'put' | 'onMutate'> = {
    strategy: () => cache.strategy(),
    get: async () => undefined,
    put: async () => {},
    onMutate: (mutation) => cache.onMutate(mutation),
  }
  return Object.assign(Object.create(cache), own)
}

/** What `defineRelations` of Drizzle 1.0 returns: plain objects, with nothing to tell them by but their keys. */
function isRelations(value: unknown): value is Record<string, never> {
  if (typeof value !== 'object' || value === null || Object.getPrototypeOf(value) !== Object.prototype)
    return false
  const tables: unknown[] = Object.values(value)
  return tables.length > 0 && tables.every(isTableRelations)
}

function isTableRelations(value: unknown): boolean {
  return (
    typeof value === 'object' && value !== null && 'table' in value && 'name' in value && 'relations' in value
  )
}

/** Does something in a transaction of its own, or a savepoint: kept when it returns, undone when it throws. */
export async function withinTransaction<Result>(
  executor: Executor,
  work: (transaction: Transaction) => Result | Promise<Result>,
  options?: TransactionOptions,
): Promise<Result> {
  const transaction = await executor.begin(options)
  try {
    const result = await work(transaction)
    await transaction.commit()
    return result
  } catch (error) {
    await transaction.rollback()
    throw error
  }
}
