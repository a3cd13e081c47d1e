import { ENGINE_CHECKS, type EngineOptions } from '../engine/options.ts'
import { OptionError } from '../errors.ts'
import { type Checks, check, checkOptions, oneOf } from '../options/check.ts'
import { PROPAGATIONS, type Propagation } from './propagation.ts'
import { SESSION_CHECKS, type SessionOptions } from './session.ts'

/** How a session is made; what is not the session's goes to its engine. */
export interface SessionFactoryOptions
  extends Omit<EngineOptions, 'logger' | 'slowStatement'>,
    SessionOptions {}

/** How the work of a session is run. */
export interface SessionWorkOptions extends SessionFactoryOptions {
  /**
   * The most times the work is run: again only after a conflict that undid it (`TransactionConflictError`), in a new
   * transaction, after a wait of random length up to a second. It is told the number of the attempt.
   * @default 1
   */
  attempts?: number | undefined
  /**
   * What to do inside the work of another `session()` on the same database and with the same engine options: open another
   * session (`new`); take part in that one, which then commits or rolls back for both (`join`); or set a savepoint in it
   * (`nested`). Outside of any it opens one. Options that contradict those of the session it is in are refused.
   * @default the manager's
   */
  propagation?: Propagation | undefined
}

/** The options of a session, and those that select its engine. */
export interface SplitOptions {
  readonly sessionOptions: SessionOptions
  readonly engineOptions: EngineOptions | undefined
}

const NO_OPTIONS: SplitOptions = { sessionOptions: {}, engineOptions: undefined }

/** Those, and how the work is run. */
interface SplitWorkOptions extends SplitOptions {
  readonly attempts?: number
  readonly propagation?: Propagation | undefined
}

/** @throws OptionError */
export function splitWorkOptions(options: SessionWorkOptions | undefined): SplitWorkOptions {
  if (options === undefined) return NO_OPTIONS
  const split = splitOptions('session', options, WORK_CHECKS)
  const { attempts = 1, propagation } = options
  if (attempts > 1 && split.sessionOptions.autocommit) {
    throw new OptionError('INVALID_OPTION', 'attempts', AUTOCOMMIT_ONCE)
  }
  return { ...split, attempts, propagation }
}

export function splitOptions(
  of: string,
  options: SessionFactoryOptions | undefined,
  checks: Checks<SessionFactoryOptions> = FACTORY_CHECKS,
): SplitOptions {
  if (options === undefined) return NO_OPTIONS
  checkOptions(of, options, checks)
  const engineOptions: EngineOptions = definedOnly(options, ENGINE_OPTIONS)
  return {
    sessionOptions: definedOnly(options, SESSION_OPTIONS),
    engineOptions: Object.keys(engineOptions).length === 0 ? undefined : engineOptions,
  }
}

/** The options that are not undefined, of these names or of all. */
export function definedOnly(options: object, names: readonly string[] = Object.keys(options)): object {
  const all = names.map((name) => [name, Reflect.get(options, name)])
  return Object.fromEntries(all.filter(([, value]) => value !== undefined))
}

/** What is printed is for all sessions of a database. */
const { slowStatement: _, ...SELECTING_CHECKS } = ENGINE_CHECKS

const FACTORY_CHECKS: Checks<SessionFactoryOptions> = { ...SELECTING_CHECKS, ...SESSION_CHECKS }

const ANY_COUNT = check((value) => Number.isSafeInteger(value) && Number(value) >= 1, 'a whole number from 1')

const WORK_CHECKS: Checks<SessionWorkOptions> = {
  ...FACTORY_CHECKS,
  attempts: ANY_COUNT,
  propagation: oneOf(...PROPAGATIONS),
}

const AUTOCOMMIT_ONCE =
  'Cannot run the work of a session more than once with autocommit: what its statements kept would be done again'

const SESSION_OPTIONS = Object.keys(SESSION_CHECKS)

/** The options that select another engine; those of a session do not. */
const ENGINE_OPTIONS = Object.keys(SELECTING_CHECKS).filter((name) => !SESSION_OPTIONS.includes(name))
