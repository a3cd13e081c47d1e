import type { AdapterOptions, DrizzleLogger, Executor, Transaction, TransactionOptions } from './types.ts'

/** What Drizzle's factories take beside the client. 0.45 takes the schema for relational queries, 1.0 the relations. */
export interface DrizzleConfig {
  readonly logger?: NonNullable<AdapterOptions['logger']>
  readonly casing?: NonNullable<AdapterOptions['casing']>
  readonly schema?: Record<string, unknown>
  readonly relations?: Record<string, never>
  readonly paramsInErrors?: true
}

/** The part of an adapter's options that is Drizzle's own. */
export function drizzleConfig({ logger, casing, models, exposeParameters }: AdapterOptions): DrizzleConfig {
  const relations = models && Object.values(models).find(isRelations)
  return {
    ...(logger && { logger }),
    ...(casing && { casing }),
    ...(models && { schema: models }),
    ...(relations && { relations }),
    // 1.0 hides them by itself; 0.45 never does, so that the engine does.
    ...(exposeParameters && { paramsInErrors: true }),
  }
}

/** The same with another logger, where there is one. */
export function withLogger<Config extends DrizzleConfig>(
  config: Config,
  logger: DrizzleLogger | undefined,
): Config {
  return logger === undefined ? config : { ...config, logger }
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
