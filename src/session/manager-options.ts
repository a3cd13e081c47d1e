import type { Dialect } from '../dburi/types.ts'
import type { NamedAdapter } from '../driver/types.ts'
import { adapterFaults } from '../engine/adapters.ts'
import type { Engine, EngineOptions } from '../engine/engine.ts'
import { ENGINE_CHECKS } from '../engine/options.ts'
import {
  aFlag,
  aFunction,
  type Check,
  type Checks,
  check,
  isObject,
  oneOf,
  optionsLike,
} from '../options/check.ts'
import { invalid, unknown } from '../options/values.ts'
import type { MigrationsOptions } from '../schema/migrate.ts'
import { CASINGS, DIFFERENCE_MODES, PREPARE_MODES, type PrepareMode } from '../schema/options.ts'
import { PROPAGATIONS, type Propagation } from './propagation.ts'
import type { ModelsByDialect } from './types.ts'

/** Which tables a manager looks after, and how it opens databases. */
export interface SessionManagerOptions<
  Models extends ModelsByDialect,
  Known extends NamedAdapter = NamedAdapter,
> {
  /**
   * What opens databases, nothing else: dburis of other drivers are refused. With one adapter, `db` has its type for any
   * `string`. With `drizzle-celery/core`, where they must be given, a bundle holds no others.
   * @default those of this package, each loaded when it is first needed, and of `registerAdapter`
   */
  adapters?: readonly Known[] | undefined
  /**
   * The tables to look after, by dialect. Dburis of other dialects are refused (`NO_MODELS`): with models of one dialect,
   * `db` has its type for any `string`.
   * @default Celery's result tables, of every dialect
   */
  models?: Models | undefined
  /**
   * How a database is prepared before its first session: create what is missing, add to it, check it, run migrations, or
   * nothing.
   * @default 'create'
   */
  prepare?: PrepareMode | undefined
  /**
   * How a difference that `prepare` leaves between a database and its models is reported: in the result of `prepareModels`
   * only, or also as a warning of the process or an error.
   * @default 'ignore'
   */
  onDifference?: 'ignore' | 'warn' | 'error' | undefined
  /** The drizzle-kit migrations of each dialect, for `prepare: 'migrate'`. */
  migrations?: { readonly [D in Dialect]?: MigrationsOptions | undefined } | undefined
  /**
   * The `casing` of drizzle-orm 0.45: how columns without a name of their own are called in the database, by handles and
   * by `prepareModels`.
   * @default as their keys
   */
  casing?: 'snake_case' | 'camelCase' | undefined
  /**
   * What `session()` does inside the work of another `session()` on the same database, where its own options do not say.
   * @default 'new'
   */
  propagation?: Propagation | undefined
  /**
   * Keep connections open between sessions. `false` opens one for each use, as Celery does outside a forked worker.
   * @default true
   */
  pooled?: boolean | undefined
  /** Options for every engine; those given with a dburi overrule them. Celery's `database_engine_options`. */
  engineOptions?: Omit<EngineOptions, 'engineKey'> | undefined
  /**
   * Called with every engine that is opened, before any other caller gets it. When it throws, the engine is disposed of and
   * forgotten. Celery's `database_engine_callback`.
   */
  engineCallback?: ((engine: Engine) => void | Promise<void>) | undefined
  /**
   * How many engines to keep. Beyond it, unused ones are disposed of, the least recently used first.
   * @default no limit
   */
  maxEngines?: number | undefined
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

/** The options that may be common to all engines: a key is for one of them. */
const { engineKey: _, ...COMMON_CHECKS } = ENGINE_CHECKS

/** What each option of a manager must be. */
export const MANAGER_CHECKS: Checks<SessionManagerOptions<ModelsByDialect>> = {
  adapters: adapterFaults,
  models: byDialect(
    check(isObject, 'an object that has the tables as its properties'),
    '{ postgresql: schema }',
  ),
  prepare: oneOf(...PREPARE_MODES),
  propagation: oneOf(...PROPAGATIONS),
  onDifference: oneOf(...DIFFERENCE_MODES),
  // Their contents are checked where they are used.
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
