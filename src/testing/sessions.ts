import type { NamedAdapter } from '../driver/types.ts'
import { ClosedError } from '../errors.ts'
import type { CoreSessionManager } from '../session/manager.ts'
import type { DburiInput, ModelsByDialect, Opened, SessionFor } from '../session/types.ts'

/** The transaction that each test runs in. */
export interface TestSessions<Session> extends AsyncDisposable {
  /** Begins the transaction of a test: for `beforeEach`. One at a time. */
  begin(): Promise<void>
  /** Rolls it back, with all that was written in it meanwhile: for `afterEach`. Safe to call twice. */
  rollback(): Promise<void>
  /** The session of the transaction, for what a test itself writes and reads. @throws ClosedError outside of a test */
  readonly session: Session
}

/**
 * Has each test run in a transaction that is rolled back. From `begin()` to `rollback()` everything that goes by the manager to
 * this dburi, without options for the engine, is part of it: sessions of `session()`, `sessionFactory()` and `createSession()` are savepoints in it, so that
 * their commits and rollbacks do what they do, and so is each statement and transaction of `engine.db`. What is begun with an
 * isolation level or `readOnly` is begun without. Works with vitest, jest and node:test.
 *
 * ```ts
 * const tests = testSessions(manager, 'postgresql://localhost/test')
 * beforeEach(() => tests.begin())
 * afterEach(() => tests.rollback())
 * ```
 */
export function testSessions<
  Models extends ModelsByDialect,
  Known extends NamedAdapter,
  const Text extends DburiInput,
>(
  manager: CoreSessionManager<Models, Known>,
  dburi: Opened<Text, Models, Known>,
): TestSessions<SessionFor<Text, Models, Known>> {
  let open: Awaited<ReturnType<typeof manager.openRoot<Text>>> | null = null
  const rollback = async () => {
    const ending = open
    open = null
    await ending?.close()
  }
  return {
    async begin() {
      if (open !== null)
        throw new ClosedError('test sessions', { reason: 'the test before was not rolled back' })
      open = await manager.openRoot(dburi)
    },
    rollback,
    get session() {
      if (open === null) throw new ClosedError('test session', { reason: 'begin() was not awaited' })
      return open.session
    },
    [Symbol.asyncDispose]: rollback,
  }
}
