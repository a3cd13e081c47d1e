import { StatementError } from '../errors.ts'
import { HIDDEN, type Statement } from './statement.ts'
import type { Executor } from './types.ts'

/** Has a handle show its users a client that is not the one Drizzle uses; it is made when it is first asked for. */
export function showClient<Handle extends { readonly $client: unknown }>(
  handle: object,
  make: () => Handle['$client'],
): Handle {
  let client: Handle['$client'] | undefined
  Object.defineProperty(handle, '$client', {
    configurable: true,
    get() {
      client ??= make()
      return client
    },
  })
  // Only its `$client` was missing.
  return handle as Handle
}

/**
 * Members of a driver's client that `$client` lacks: each throws a StatementError when it is called.
 * @param closing its name for closing the client
 */
export function refusedMembers(
  owner: string,
  names: readonly string[],
  instead: string,
  closing?: string,
): Record<string, () => never> {
  const refused = names.map((name) => [name, refusal(`${owner}.${name}()`, instead)] as const)
  const closed = closing === undefined ? [] : [[closing, refusal(`${owner}.${closing}()`, DISPOSE)] as const]
  return Object.fromEntries([...refused, ...closed])
}

const DISPOSE = "Its connections are the pool's: use dispose() of the engine or of the manager."

/** A function that says why there is no such thing. */
export function refusal(what: string, instead: string): () => never {
  return () => {
    throw new StatementError(
      'INVALID_STATEMENT',
      `Cannot use ${what}: $client has only what keeps to the pool and the transaction of its handle. ${instead}`,
    )
  }
}

/**
 * The same executor, which blanks the parameters of a statement that fails, in the very array it was given. Drizzle 0.45
 * prints that array in the `DrizzleQueryError` that it wraps around every failure. It fills one for each execution, so
 * nobody else loses by it; arrays of anybody else go through `keepingParams`.
 */
export function hidingParams(executor: Executor): Executor {
  return running(executor, (outer, statement) => {
    const result = outer.run(statement)
    result.catch(() => {
      // Of an adapter outside, it may be anybody's.
      if (!Object.isFrozen(statement.params)) statement.params.fill(HIDDEN)
    })
    return result
  })
}

/** The same executor for statements that a user wrote: what they are given stays as it is, also when they fail. */
export function keepingParams(executor: Executor): Executor {
  return running(executor, (outer, statement) => {
    const { sql, params } = statement
    if (typeof sql !== 'string') return Promise.reject(malformed('its text must be a string'))
    if (!Array.isArray(params)) return Promise.reject(malformed('its parameters must be an array'))
    return outer.run({ ...statement, params: [...params] })
  })
}

/** Statements run in another way, also those of its transactions. */
function running(
  executor: Executor,
  run: (executor: Executor, statement: Statement) => Promise<unknown>,
): Executor {
  return {
    run: (statement) => run(executor, statement),
    ...(executor.openCursor && { openCursor: executor.openCursor.bind(executor) }),
    async begin(options) {
      const transaction = await executor.begin(options)
      return {
        ...running(transaction, run),
        commit: () => transaction.commit(),
        rollback: () => transaction.rollback(),
      }
    },
  }
}

function malformed(what: string): StatementError {
  return new StatementError('INVALID_STATEMENT', `Cannot run a statement of $client: ${what}.`)
}
