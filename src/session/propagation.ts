import { AsyncLocalStorage } from 'node:async_hooks'
import type { Engine } from '../engine/engine.ts'
import { transactionOptionsOf } from '../engine/options.ts'
import { DrizzleCeleryError, OptionError, toError } from '../errors.ts'
import { together } from '../options/values.ts'
import type { AnyWork } from './attempts.ts'
import type { Session, SessionOptions } from './session.ts'

/** What `manager.session()` does inside the work of another session of the same engine. */
export type Propagation = 'new' | 'join' | 'nested'

export const PROPAGATIONS: readonly Propagation[] = ['new', 'join', 'nested']

/** A session whose work has not settled. A socket opened in it keeps the entry for life, so that must keep no session and engine. */
interface Entry {
  /** Whose session it is: a manager's own. */
  readonly context: SessionContext
  /** `null` once the work has settled: what it left running opens sessions of its own. */
  session: WeakRef<Session> | null
  /** The engine that was opened for it, of all that share its database. */
  readonly engine: WeakRef<Engine>
  /** The text that it was opened by. */
  readonly dburi: string
  /** The innermost around it whose work was under way when it began. */
  readonly outer: Entry | undefined
}

/** A session that stands for all others of its engine. */
interface Root {
  readonly session: Session
  readonly engine: Engine
  readonly dburi: string
}

/** One for all managers: before Node 24 each costs every promise of the process time and memory. */
const storage = new AsyncLocalStorage<Entry>()

/** Which sessions code is called within: those of the callbacks around it, however many promises and timers lie between. */
export class SessionContext {
  /** Sessions that stand for all others of their engines, whatever code asks. */
  readonly #roots = new Set<Root>()

  /** Has a session stand for all others of its engine, until the function that is returned is called. */
  adopt(session: Session, dburi: string): () => void {
    const root = { session, engine: session.engine.origin, dburi }
    this.#roots.add(root)
    return () => void this.#roots.delete(root)
  }

  /** The session that another one of an engine is made within, where one stands for all others of it. */
  within(engine: Engine): Session | null {
    if (this.#roots.size === 0) return null
    const root = [...this.#roots].find((each) => each.engine === engine.origin)
    return root === undefined ? null : (this.on(engine) ?? root.session)
  }

  /** Runs the work of a session, so that all it calls finds the session. */
  async run<Result>(session: Session, dburi: string, work: () => Promise<Result>): Promise<Result> {
    let outer = storage.getStore()
    // A job that begins the next one would otherwise have all before it around itself.
    while (outer?.session === null) outer = outer.outer
    const entry: Entry = {
      context: this,
      session: new WeakRef(session),
      engine: new WeakRef(session.engine.origin),
      dburi,
      outer,
    }
    try {
      return await storage.run(entry, work)
    } finally {
      entry.session = null
    }
  }

  /** The innermost session of an engine, if its work is still under way. */
  on(engine: Engine): Session | null {
    return this.#find((entry) => entry.engine.deref() === engine.origin)
  }

  /**
   * The innermost session of a dburi.
   * @param isSame whether two texts mean the same dburi
   * @throws DrizzleCeleryError with code `NO_SESSION`
   */
  of(dburi: string, isSame: (other: string) => boolean): Session {
    const isMeant = (entry: Pick<Entry, 'dburi'>) => entry.dburi === dburi || isSame(entry.dburi)
    const found = this.#find(isMeant) ?? [...this.#roots].find(isMeant)?.session
    if (found !== undefined) return found
    throw new DrizzleCeleryError(
      'NO_SESSION',
      'There is no current session of this dburi: current() is for what the work of manager.session() calls, until that work ' +
        'has settled. Sessions of sessionFactory() are handed on by hand.',
    )
  }

  #find(isMeant: (entry: Entry) => boolean): Session | null {
    for (let entry = storage.getStore(); entry !== undefined; entry = entry.outer) {
      if (entry.context === this && isMeant(entry)) return entry.session?.deref() ?? null
    }
    return null
  }
}

/**
 * Runs work in a session that others have opened. It ends nothing; if it fails, all that the session has done since its
 * transaction began can only be rolled back, even where the error is caught.
 */
export async function runJoined(outer: Session, options: SessionOptions, work: AnyWork): Promise<unknown> {
  const { statementTimeout, signal, logger } = options
  const isOther = statementTimeout !== undefined || signal !== undefined || logger !== undefined
  const { db } = isOther ? outer.with({ statementTimeout, signal, logger }) : outer
  try {
    return await work(db, outer, 1)
  } catch (error) {
    outer.doom(toError(error))
    throw error
  }
}

/**
 * Refuses what a session would have that shares the connection of another one, and that one has otherwise.
 * @throws OptionError
 */
export function assertAgrees(
  outer: Session,
  options: SessionOptions & { readonly attempts?: number | undefined },
): void {
  const { attempts = 1, autocommit, shortLivedSessions } = options
  const asked = { autocommit, shortLivedSessions, ...transactionOptionsOf(options) }
  const contradicting = Object.entries(asked).flatMap(([name, value]) =>
    value !== undefined && (value || false) !== (Reflect.get(outer.options, name) || false) ? [name] : [],
  )
  const faults = contradicting.map((name) => contradiction(name, 'the session it is in has it otherwise'))
  if (attempts > 1) faults.push(contradiction('attempts', 'only the outermost work can be run again'))
  if (faults.length > 0) throw together(faults)
}

function contradiction(name: string, why: string): OptionError {
  return new OptionError(
    'INVALID_OPTION',
    name,
    `Cannot have the option ${name} inside another session: ${why}. Give it to that one, or open one of its own by ` +
      "propagation: 'new'.",
  )
}
