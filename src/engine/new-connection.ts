import type { Dialect } from '../dburi/types.ts'
import { stopAfter } from '../driver/deadline.ts'
import type { Connection, Database } from '../driver/types.ts'
import {
  AbortedError,
  ClosedError,
  ConnectError,
  type ConnectErrorCode,
  ConnectionLostError,
  causes,
  NotServingError,
  StatementError,
  toError,
} from '../errors.ts'

/** A connection that was just opened, and that nobody else has yet. */
export interface NewConnection {
  /** What its server speaks. */
  readonly dialect: Dialect
  /**
   * Runs a statement that autocommits, and whose effect on the connection stays: `SET`, `PRAGMA`, `set role`, `select
   * set_config(…)`, `create temp table`. What is not awaited, with what follows on it, is waited for before the connection is handed out.
   * @param sql with the dialect's own placeholders
   * @param params what stands for them
   * @returns rows in the driver's own shape
   * @throws what the database answers; ClosedError once the connection was handed out
   */
  execute(sql: string, params?: readonly unknown[]): Promise<unknown>
}

/** Sets up a new connection, before anybody gets it. */
export type OnConnect = (connection: NewConnection) => void | Promise<void>

/** Milliseconds to connect and to be set up, where the adapter names no deadline. */
const CONNECT_TIMEOUT = 10_000
/** Milliseconds that are left to be set up, where hosts that did not answer have used up all of the deadline. */
const LEAST_TIME = 1_000

/** How a database connects where the program sets up its connections. */
export function settingUp(
  dialect: Dialect,
  database: Pick<Database<unknown>, 'connect' | 'connectTimeout'>,
  onConnect: OnConnect,
): (signal: AbortSignal) => Promise<Connection> {
  const { connectTimeout = CONNECT_TIMEOUT } = database
  return async (signal) => {
    const startedAt = performance.now()
    const connection = await database.connect(signal)
    const left = Math.max(LEAST_TIME, connectTimeout - (performance.now() - startedAt))
    try {
      await within(left, signal, connection, () => setUp(dialect, connection, onConnect))
      if (connection.lost !== null) throw connection.lost
      if (connection.tainted) throw keepsNoState()
      return connection
    } catch (error) {
      connection.discard(toError(error))
      if (error instanceof AbortedError) throw error
      throw failed(connection, error, connectTimeout)
    }
  }
}

/** What reports that the time is up; nobody sees it but as a `ConnectError`. */
class TimeIsUp extends Error {}

function within<Result>(
  milliseconds: number,
  signal: AbortSignal,
  connection: Connection,
  work: () => Promise<Result>,
): Promise<Result> {
  return new Promise((resolve, reject) => {
    const over = stopAfter(milliseconds, signal, (isAborted) => {
      const reason = isAborted
        ? new AbortedError('Stopped setting up a new connection', { cause: signal.reason })
        : new TimeIsUp()
      reject(reason)
      // Nothing else ends a statement whose server fell silent.
      connection.discard(reason)
    })
    work().then(resolve, reject).finally(over)
  })
}

async function setUp(dialect: Dialect, connection: Connection, onConnect: OnConnect): Promise<void> {
  const running = new Set<Promise<unknown>>()
  let isOver = false
  const execute = (sql: string, params: readonly unknown[] = []): Promise<unknown> => {
    if (isOver) return Promise.reject(new ClosedError('connection'))
    const answer = connection.run({ sql, params: [...params], asArrays: false }, { isSetUp: true })
    running.add(answer)
    // Told of below, also where the program drops it.
    answer.catch(() => {})
    return answer
  }
  try {
    await onConnect({ dialect, execute })
    // What follows on one that was not awaited is there by then, and is waited for too.
    for (let known = 0; known < running.size; ) {
      known = running.size
      await Promise.all(running)
    }
  } finally {
    isOver = true
  }
}

function keepsNoState(): StatementError {
  return new StatementError(
    'INVALID_STATEMENT',
    'Its adapter takes what onConnect has set for something left behind (it ignores RunOptions.isSetUp), and would close ' +
      'the connection after each use.',
  )
}

function failed({ target }: Connection, cause: unknown, connectTimeout: number): ConnectError {
  const failure = (code: ConnectErrorCode, what: string, options: ErrorOptions = { cause }) =>
    new ConnectError(code, target ?? null, `Cannot set up a new connection: ${what}`, options)
  if (cause instanceof TimeIsUp)
    return failure('CONNECT_TIMEOUT', `with onConnect it was not ready within ${connectTimeout} ms`, {})
  // The server's doing, which passes, and not the program's.
  if (causes(cause).some((each) => each instanceof ConnectionLostError || each instanceof NotServingError))
    return failure('CONNECT_FAILED', 'it was lost while onConnect ran, see the cause.')
  return failure('ON_CONNECT_FAILED', 'onConnect failed, see the cause. The connection was closed.')
}
