import { StatementError } from './errors.ts'

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
  // It was one but for its `$client`.
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
