import { existsSync, readdirSync, statSync } from 'node:fs'
import { setImmediate } from 'node:timers/promises'
import { unlessStopped } from '../../driver/deadline.ts'
import {
  AbortedError,
  ClosedError,
  ConnectError,
  type ConnectTarget,
  DatabaseLockedError,
  toError,
} from '../../errors.ts'
import { type DirectoryLock, lockDirectory } from './directory-lock.ts'

/** What PGlite says of one statement. */
export interface Result {
  readonly rows: unknown[]
  readonly fields: readonly { readonly name: string; readonly dataTypeID: number }[]
  /** Rows written by this statement and those before it in the same text. */
  readonly affectedRows?: number
  /** The first word of the command tag. */
  readonly command?: string
  /** The number in the command tag, where it has one. */
  readonly rowCount?: number
}

export interface ResultOptions {
  readonly rowMode: 'array' | 'object'
  readonly parsers: Record<number, (text: string) => unknown>
}

/** What we use of a PGlite. */
export interface Driver {
  query(sql: string, params: unknown[], options: ResultOptions & { paramTypes: number[] }): Promise<Result>
  exec(sql: string, options?: ResultOptions): Promise<Result[]>
  close(): Promise<void>
  /** Functions of PostgreSQL's process; gone once it is closed. */
  readonly Module?: object
}

/** Starts a PGlite in a directory or in memory; what PostgreSQL logs goes to `onStderr`. */
export type Start = (dataDir: string, onStderr: (line: string) => boolean) => Promise<Driver>

interface Started {
  readonly driver: Driver
  unlock(): void
}

/**
 * The one PGlite of an engine: started at the first connection, kept until the engine is disposed. Connections come
 * and go over it, so losing or discarding one loses no data, and the next begins with a clean session.
 */
export class Instance {
  readonly #directory: string | null
  readonly #start: Start
  #started: Promise<Started> | null = null
  #turn: Promise<unknown> = Promise.resolve()
  /** Milliseconds of work since the rest of the process had its turn. */
  #busy = 0
  #closed: Promise<void> | null = null

  /** `directory` is `null` for a database in memory. */
  constructor(directory: string | null, start: Start) {
    this.#directory = directory
    this.#start = start
  }

  /** Its directory; `undefined` in memory. */
  get target(): ConnectTarget | undefined {
    return this.#directory === null ? undefined : { file: this.#directory }
  }

  /**
   * Resolves once PostgreSQL runs, the statement under way has ended, and nothing is left of the connection before:
   * a transaction it did not end is rolled back.
   * @throws ConnectError, DatabaseLockedError, AbortedError, ClosedError
   */
  async open(signal?: AbortSignal): Promise<void> {
    if (this.#closed !== null) throw new ClosedError('database')
    this.#started ??= this.#boot().catch((error: unknown) => {
      this.#started = null
      throw error
    })
    await unlessAborted(this.#started, signal)
    await unlessAborted(this.#cleanSession(), signal)
  }

  /** Does some work when all that was asked for before is done: PGlite is one session of PostgreSQL. */
  turn<T>(work: (driver: Driver) => Promise<T>): Promise<T> {
    const result = this.#turn.then(async () => {
      if (this.#started === null) throw new ClosedError('database')
      const { driver } = await this.#started
      const startedAt = performance.now()
      return await work(driver).finally(() => {
        stopAlarm(driver)
        this.#busy += performance.now() - startedAt
      })
    })
    this.#turn = result.catch(() => {}).then(() => this.#breathe())
    return result
  }

  /**
   * PGlite works in this thread and never leaves it while statements wait, so that no timer would fire and no signal
   * be seen. Now and then the rest of the process gets its turn: all of it, which takes a whole round of the event loop.
   */
  async #breathe(): Promise<void> {
    if (this.#busy < BREATHE_AFTER) return
    this.#busy = 0
    await setImmediate()
    await setImmediate()
  }

  /** Stops PostgreSQL in an orderly way and gives the directory free. Safe to call twice. */
  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async #close(): Promise<void> {
    // The caller whose start failed has the error.
    const started = await this.#started?.catch(() => null)
    if (!started) return
    try {
      await this.turn((driver) => driver.close())
    } finally {
      this.#started = null
      started.unlock()
    }
  }

  async #boot(): Promise<Started> {
    const log: string[] = []
    const onStderr = (line: string) => {
      if (!/\bLOG:/.test(line)) log.push(line.replace(/^[\d: .-]+\w+ \[\d+\] +/, ''))
      return false
    }
    const lock = await this.#lock()
    try {
      if (this.#directory !== null) refuseOthersFiles(lock.directory)
      return { driver: await this.#start(lock.directory, onStderr), unlock: lock.release }
    } catch (error) {
      lock.release()
      throw this.#cannotOpen(log.length > 0 ? log.slice(0, 5).join(', ') : toError(error).message, error)
    }
  }

  async #lock(): Promise<DirectoryLock> {
    if (this.#directory === null) return { directory: MEMORY, release() {} }
    try {
      return await lockDirectory(this.#directory)
    } catch (error) {
      throw error instanceof DatabaseLockedError ? error : this.#cannotOpen(toError(error).message, error)
    }
  }

  async #cleanSession(): Promise<void> {
    await this.turn(async (driver) => {
      await driver.exec('rollback')
      await driver.exec('discard all')
    }).catch((error: unknown) => {
      throw error instanceof ClosedError ? error : this.#cannotOpen(toError(error).message, error)
    })
  }

  #cannotOpen(reason: string, cause: unknown): ConnectError {
    const path = this.#directory ?? MEMORY
    return new ConnectError('FILE_UNUSABLE', { file: path }, `Cannot open PGlite at ${path}: ${reason}`, {
      cause,
    })
  }
}

/**
 * Stops PostgreSQL's alarm clock, a timer that would keep a process that is done alive: for 10 s after any DDL, when
 * statistics not yet written are due, which the next statement writes as well. Nothing else of PostgreSQL relies on it
 * here: a statement is never interrupted by it, since no timer fires while one runs.
 */
function stopAlarm({ Module }: Driver): void {
  const clear: unknown = Module && Reflect.get(Module, '_clear_setitimer')
  if (typeof clear === 'function') clear()
}

const MEMORY = 'memory://'
const BREATHE_AFTER = 10

/** PGlite would spread a thousand files among those of somebody who named the wrong directory. */
function refuseOthersFiles(directory: string): void {
  if (!existsSync(directory)) return
  if (!statSync(directory).isDirectory()) throw new Error('it is not a directory')
  const names = readdirSync(directory)
  if (names.includes('PG_VERSION')) return
  // What a creation that was interrupted has left is made anew.
  const other = names.find((name) => !/^(?:\.|lost\+found$|base$|global$|pg_|postgresql\.)/.test(name))
  if (other !== undefined)
    throw new Error(`it is no database, and holds other files, such as ${JSON.stringify(other)}`)
}

function unlessAborted<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  const reason = () => new AbortedError('Stopped opening PGlite', { cause: signal?.reason })
  return unlessStopped(work, undefined, signal, reason)
}
