import type { Socket } from 'node:net'
import type { Connection as Driver, FieldPacket } from 'mysql2'
import { InFlight } from '../../driver/socket.ts'
import {
  holderNeeded,
  isOwnError,
  type Statement,
  StatementCache,
  transactionControlRefused,
} from '../../driver/statement.ts'
import type { Connection, RunOptions, TransactionOptions } from '../../driver/types.ts'
import {
  ClosedError,
  ConnectionLostError,
  ResponseTooLargeError,
  StatementError,
  TransactionAbortedError,
} from '../../errors.ts'
import { toWord } from '../../options/values.ts'
import {
  connectionIsGone,
  isDemoted,
  isServerError,
  isStale,
  rollsBack,
  type ServerError,
  scrub,
  withConflict,
} from './errors.ts'
import type { ServerPackets } from './server-packets.ts'
import { type MysqlTraits, mysqlTraits } from './statement.ts'
import {
  type BoundValue,
  bindParameters,
  type Integers,
  markNames,
  roundFloats,
  unmarkNames,
} from './values.ts'

export interface ConnectionParts {
  readonly driver: Driver
  /** What is told of all that is asked of the server. */
  readonly packets: Pick<ServerPackets, 'ask'>
  readonly integers: Integers
  /** The socket the driver was given; under TLS, what carries it. */
  readonly socket: Socket
  readonly statementCacheSize: number
  readonly exposeParameters: boolean
  /** Asks the server to end a connection, known to it by our port, and what it is doing. */
  kill(threadId: number, port: number | null): Promise<void>
}

/** A transaction on its way, and why the server has ended it before its time. */
interface Open {
  failure: unknown
}

/**
 * One mysql2 connection. One statement is on its way at a time, since each may tell that the next one must not run:
 * MySQL rolls a whole transaction back at a deadlock, commits it at a CREATE TABLE, and would then run what follows
 * outside of any.
 */
export class MysqlConnection implements Connection {
  readonly #parts: ConnectionParts
  readonly #texts: StatementCache<MysqlTraits>
  readonly #inFlight: InFlight
  #lastTurn: Promise<unknown> = Promise.resolve()
  #transaction: Open | null = null
  /** Whether the server's answers say if they leave a transaction open; some proxies' do not. */
  #reportsStatus = true
  #lost: Error | null = null
  #isTainted = false
  #closed: Promise<void> | null = null
  /** By which the server knows us; `null` for a Unix socket. */
  readonly #port: number | null
  onLost: (() => void) | null = null

  constructor(parts: ConnectionParts) {
    this.#parts = parts
    this.#inFlight = new InFlight(parts.socket)
    this.#texts = new StatementCache(parts.statementCacheSize, mysqlTraits)
    this.#port = parts.socket.localPort ?? null
    parts.driver.on('error', (error) => this.#break(error))
    parts.socket.on('error', (error) => this.#break(error))
    parts.socket.on('close', () => this.#break(new Error('The server closed the connection')))
  }

  get lost(): Error | null {
    return this.#lost
  }

  get tainted(): boolean {
    return this.#isTainted
  }

  async run({ sql, params, asArrays }: Statement, { isShared = false }: RunOptions = {}): Promise<unknown> {
    let bound: BoundValue[] = []
    try {
      const text = this.#texts.look(sql)
      const transaction = this.#transaction
      if (transaction !== null && text.commits) throw wouldCommit()
      if (text.taints) this.#isTainted = true
      if (text.needsHolder && isShared)
        throw holderNeeded('SELECT … FOR UPDATE in a transaction locks rows until its end.')
      bound = bindParameters(params, this.#parts.integers)
      const work = { sql, bound, asArrays, mayEnd: text.taints }
      return await this.#inTurn(() => this.#perform(work, transaction))
    } catch (error) {
      throw this.#translateError(error, { sql, bound })
    }
  }

  /**
   * Has each statement commit by itself, whatever the server's default is, as PyMySQL does; sets the time zone, where it
   * is not the server's.
   */
  async start(timeZone: string | null): Promise<void> {
    const zone = timeZone === null ? '' : `, time_zone = '${timeZone}'`
    await this.#control(() => this.#send(plain(`set autocommit = 1${zone}`)))
  }

  async begin(options: TransactionOptions): Promise<void> {
    const texts = beginTexts(options)
    const transaction: Open = { failure: null }
    this.#transaction = transaction
    try {
      await this.#inTurn(async () => {
        for (const text of texts) this.#reportsStatus = (await this.#send(plain(text))).isOpen === true
      })
    } catch (error) {
      if (this.#transaction === transaction) this.#transaction = null
      const judged = this.#translateError(error, NOTHING_SENT)
      // An isolation level without its transaction would be the next one's.
      if (texts.length > 1) this.discard(judged)
      throw judged
    }
  }

  async commit(): Promise<boolean> {
    const transaction = this.#transaction
    this.#transaction = null
    return await this.#control(async () => {
      if (transaction?.failure != null) return false
      await this.#send(plain('commit'))
      return true
    })
  }

  async rollback(): Promise<void> {
    this.#transaction = null
    await this.#control(() => this.#send(plain('rollback')))
  }

  async ping(): Promise<void> {
    await this.#control(() => this.#ask((done) => this.#parts.driver.ping((error) => done(error))))
  }

  discard(reason: Error): void {
    const isWorking = !this.#inFlight.isEmpty
    this.#break(reason)
    if (isWorking) void this.#parts.kill(this.#parts.driver.threadId, this.#port)
  }

  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async #close(): Promise<void> {
    if (this.#lost !== null) return
    if (!this.#inFlight.isEmpty) {
      this.discard(new ClosedError('connection'))
      return
    }
    this.#lost = new ClosedError('connection')
    await this.#inFlight.close(() => this.#parts.driver.end())
  }

  /** Runs work when all that came before it is settled, however it went. */
  #inTurn<Result>(work: () => Promise<Result>): Promise<Result> {
    const turn = this.#lastTurn.then(work)
    this.#lastTurn = turn.catch(() => {})
    return turn
  }

  async #control<Result>(work: () => Promise<Result>): Promise<Result> {
    try {
      return await this.#inTurn(work)
    } catch (error) {
      throw this.#translateError(error, NOTHING_SENT)
    }
  }

  async #perform(work: Work, transaction: Open | null): Promise<unknown> {
    if (transaction?.failure != null) throw new TransactionAbortedError({ cause: transaction.failure })
    let sent: Answer
    try {
      sent = await this.#sendFresh(work)
    } catch (error) {
      if (!isServerError(error)) throw error
      const isUndone = transaction === null || (await this.#isUndone(error))
      const judged = this.#translateError(error, work, isUndone)
      if (transaction !== null && isUndone) transaction.failure = judged
      throw judged
    }
    const isOpen = sent.isOpen ?? (await this.#askWhetherOpen(work, transaction))
    if (this.#reportsStatus && isOpen !== null && isOpen !== (transaction !== null)) throw this.#escaped()
    return sent.answer
  }

  /** What was prepared may be gone, behind a proxy or after a schema change; the statement was not run then. */
  async #sendFresh(work: Work): Promise<Answer> {
    try {
      return await this.#send(work)
    } catch (error) {
      if (!isStale(error)) throw error
      // By the same options as it was prepared, which mysql2's type does not say.
      this.#parts.driver.unprepare(optionsOf(work) as never)
      return await this.#send(work)
    }
  }

  /** Rows come without a word on the transaction, also those of an EXECUTE IMMEDIATE that ended it. */
  async #askWhetherOpen({ mayEnd }: Work, transaction: Open | null): Promise<boolean | null> {
    return mayEnd && this.#reportsStatus && transaction !== null ? await this.#isOpen() : null
  }

  /** A failed statement may have cost the whole transaction: a deadlock does, and so may a lock waited for too long. */
  async #isUndone(error: ServerError): Promise<boolean> {
    if (!this.#reportsStatus || (await this.#isOpen()) !== false) return false
    if (!rollsBack(error)) throw this.#escaped()
    return true
  }

  async #isOpen(): Promise<boolean | null> {
    return (await this.#send(plain('do 0'))).isOpen
  }

  async #send(work: Work): Promise<Answer> {
    const { driver } = this.#parts
    let columns: readonly unknown[] | undefined
    let isMarked = false
    const answer = await this.#ask((done) => {
      const told = (error: Error | null, answer: unknown, fields?: readonly unknown[]) => {
        columns = fields
        done(error, answer)
      }
      // Without parameters the text protocol saves a round trip, and takes what cannot be prepared.
      const query =
        work.bound.length === 0
          ? driver.query(optionsOf(work), told)
          : driver.execute(optionsOf(work), work.bound, told)
      // Told also of results that are no rows, with no columns.
      query.on('fields', (fields?: readonly FieldPacket[]) => {
        if (fields !== undefined && markNames(fields)) isMarked = true
      })
    })
    if (work.bound.length > 0 && columns !== undefined) roundFloats(answer, columns, work.asArrays)
    if (isMarked && !work.asArrays) unmarkNames(answer)
    return { answer, isOpen: isInTransaction(answer, columns) }
  }

  /** Whatever the driver does or forgets to do, the loss of the connection settles it. */
  #ask(work: (done: (error: Error | null, answer?: unknown) => void) => void): Promise<unknown> {
    if (this.#lost !== null) return Promise.reject(this.#lost)
    return new Promise((resolve, reject) => {
      const fail = (error: Error) => {
        if (this.#inFlight.settles(fail)) reject(error)
      }
      this.#inFlight.add(fail)
      this.#parts.packets.ask()
      try {
        work((error, answer) => {
          if (error) fail(error)
          else if (this.#inFlight.settles(fail)) resolve(answer)
        })
      } catch (error) {
        fail(error instanceof Error ? error : new Error(String(error)))
      }
    })
  }

  /** A text began or ended a transaction that we know nothing of: whatever comes next would run outside of ours. */
  #escaped(): StatementError {
    const error = transactionControlRefused()
    this.discard(error)
    return error
  }

  #translateError(error: unknown, { sql, bound }: Pick<Work, 'sql' | 'bound'>, isUndone = false): Error {
    if (isServerError(error)) {
      const judged = this.#parts.exposeParameters ? error : scrub(error, sql, bound)
      if (isDemoted(error)) this.#isTainted = true
      if (connectionIsGone(error)) this.discard(judged)
      return withConflict(judged, isUndone)
    }
    if (isOwnError(error)) return error
    // Not a server error: the protocol's state is unknown, so drop the connection.
    this.discard(error instanceof Error ? error : new Error(String(error)))
    return this.#lost ?? lostBy(new Error('The connection broke'))
  }

  #break(reason: Error): void {
    if (this.#lost !== null) return
    const lost = lostBy(reason)
    // What comes later is surely not done, when we closed it ourselves; what is under way may be, whoever broke it.
    this.#lost = reason instanceof ClosedError ? reason : lost
    this.#parts.driver.destroy()
    this.#parts.socket.destroy()
    this.#inFlight.failAll(reason instanceof ResponseTooLargeError ? reason : lost)
    this.onLost?.()
  }
}

/** Our own statements have no parameters that an error could show. */
const NOTHING_SENT = { sql: '', bound: [] }

/** Our own statements, which need no looking after. */
function plain(sql: string): Work {
  return { sql, bound: [], asArrays: false, mayEnd: false }
}

/** What the server answered. */
interface Answer {
  readonly answer: unknown
  /** Whether it left a transaction open; `null` where it does not say. */
  readonly isOpen: boolean | null
}

/** One statement on its way to the server. */
interface Work {
  readonly sql: string
  /** The parameters as they are sent. */
  readonly bound: BoundValue[]
  readonly asArrays: boolean
  /** It may end a transaction without being asked to, for all that its text tells. */
  readonly mayEnd: boolean
}

function optionsOf({ sql, asArrays }: Work): { sql: string; rowsAsArray: boolean } {
  return { sql, rowsAsArray: asArrays }
}

function wouldCommit(): StatementError {
  return new StatementError(
    'INVALID_STATEMENT',
    'Cannot run this statement in a transaction: MySQL would commit the transaction with it, without a word. ' +
      'Run it by engine.db, or in a session with autocommit.',
  )
}

function lostBy(reason: Error): ConnectionLostError {
  return new ConnectionLostError(
    'The connection to MySQL was lost. A statement that was under way may or may not have taken effect.',
    { cause: isOwnError(reason) || isServerError(reason) ? reason : withoutStatement(reason) },
  )
}

/** mysql2 hangs the statement on whatever error breaks its socket; this is what says why. */
function withoutStatement({ message, code }: Error & { code?: unknown }): Error {
  return Object.assign(new Error(message), typeof code === 'string' && { code })
}

const ISOLATION_LEVELS = ['read uncommitted', 'read committed', 'repeatable read', 'serializable'] as const

/**
 * The statements that begin a transaction, in order.
 * @throws OptionError when the isolation level is none: it becomes part of a statement
 */
function beginTexts({ isolationLevel, readOnly, withConsistentSnapshot }: TransactionOptions): string[] {
  const modes = [withConsistentSnapshot && 'with consistent snapshot', readOnly && 'read only'].filter(
    Boolean,
  )
  const start = modes.length === 0 ? 'start transaction' : `start transaction ${modes.join(', ')}`
  if (isolationLevel === undefined) return [start]
  const level = toWord('isolationLevel', isolationLevel, ISOLATION_LEVELS)
  return [`set transaction isolation level ${level}`, start]
}

/** `SERVER_STATUS_IN_TRANS` of the protocol. */
const IN_TRANSACTION = 1

/**
 * Whether an answer leaves a transaction open, by the server's own word; `null` for rows, which do not say, except those
 * of a CALL, whose last part is the end of the procedure.
 * @param fields what mysql2 gives beside the answer: the columns of its rows, or of each of its parts
 */
function isInTransaction(answer: unknown, fields: unknown): boolean | null {
  const end = endOf(answer, fields)
  if (end === null) return null
  if (typeof end === 'object' && 'serverStatus' in end && typeof end.serverStatus === 'number') {
    return (end.serverStatus & IN_TRANSACTION) !== 0
  }
  throw new Error('mysql2 answered without the status of the server')
}

/**
 * mysql2's `ResultSetHeader`, known by its place: a row may have columns of any name, and bundlers rename classes. Rows
 * come in a list, and what is no rows has no columns.
 */
function endOf(answer: unknown, fields: unknown): object | null {
  if (!Array.isArray(answer)) return Object(answer)
  const hasParts = Array.isArray(fields) && fields.length > 0 && fields.at(-1) === undefined
  return hasParts ? Object(answer.at(-1)) : null
}
