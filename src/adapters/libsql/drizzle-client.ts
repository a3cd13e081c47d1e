import { withinTransaction } from '../../driver/drizzle.ts'
import type { Statement } from '../../driver/statement.ts'
import type { Executor, Transaction, TransactionOptions } from '../../driver/types.ts'

/** What libSQL's clients take as a statement. */
export type InStatement =
  | string
  | { readonly sql: string; readonly args?: InArgs }
  | readonly [string, InArgs?]
export type InArgs = unknown[] | Record<string, unknown>

/** What libSQL's clients resolve to. */
export interface ResultSet {
  columns: string[]
  columnTypes: string[]
  rows: object[]
  rowsAffected: number
  lastInsertRowid: bigint | undefined
}

/** A statement that libSQL's client has a call of its own for. */
export interface LibsqlStatement extends Statement {
  readonly call?:
    | { readonly name: 'executeMultiple' }
    | { readonly name: 'migrate'; readonly statements: readonly Statement[] }
    | { readonly name: 'sync' }
  /** Parameters by name, instead of `params`. */
  readonly named?: Record<string, unknown>
}

/**
 * The client Drizzle's libSQL handle runs on, and another one its `$client`: what it is asked goes to `executor`. Its
 * connections are the pool's, so `close` and `reconnect` do nothing: dispose of the engine instead.
 */
export class LibsqlClient {
  readonly #executor: Executor
  readonly protocol: string
  readonly closed = false

  constructor(executor: Executor, protocol: string) {
    this.#executor = executor
    this.protocol = protocol
  }

  execute(statement: InStatement, args?: InArgs): Promise<unknown> {
    return this.#executor.run(toStatement(statement, args))
  }

  /** Runs statements in a transaction of their own. */
  batch(statements: readonly InStatement[], mode?: string): Promise<unknown[]> {
    const runThem = (transaction: Transaction) => runAll(transaction, statements)
    return withinTransaction(this.#executor, runThem, optionsFor(mode))
  }

  async transaction(mode?: string): Promise<LibsqlTransaction> {
    return new LibsqlTransaction(await this.#executor.begin(optionsFor(mode)))
  }

  /** Runs statements in a transaction, without checking foreign keys meanwhile: so tables can be made anew. */
  migrate(statements: readonly InStatement[]): Promise<unknown> {
    const call = {
      name: 'migrate',
      statements: statements.map((statement) => toStatement(statement)),
    } as const
    return this.#run('', call)
  }

  executeMultiple(sql: string): Promise<unknown> {
    return this.#run(sql, { name: 'executeMultiple' })
  }

  /** Fetches what is new on the server of an embedded replica. */
  sync(): Promise<unknown> {
    return this.#run('', { name: 'sync' })
  }

  close(): void {}

  reconnect(): void {}

  #run(sql: string, call: NonNullable<LibsqlStatement['call']>): Promise<unknown> {
    const statement: LibsqlStatement = { sql, params: [], asArrays: false, call }
    return this.#executor.run(statement)
  }
}

class LibsqlTransaction {
  readonly #transaction: Transaction
  #isClosed = false

  constructor(transaction: Transaction) {
    this.#transaction = transaction
  }

  get closed(): boolean {
    return this.#isClosed
  }

  execute(statement: InStatement, args?: InArgs): Promise<unknown> {
    return this.#transaction.run(toStatement(statement, args))
  }

  batch(statements: readonly InStatement[]): Promise<unknown[]> {
    return runAll(this.#transaction, statements)
  }

  executeMultiple(sql: string): Promise<unknown> {
    const statement: LibsqlStatement = { sql, params: [], asArrays: false, call: { name: 'executeMultiple' } }
    return this.#transaction.run(statement)
  }

  commit(): Promise<void> {
    this.#isClosed = true
    return this.#transaction.commit()
  }

  rollback(): Promise<void> {
    this.#isClosed = true
    return this.#transaction.rollback()
  }

  close(): void {
    // It cannot be waited for; a rollback that fails breaks the connection, which undoes everything too.
    void this.rollback()
  }
}

async function runAll(executor: Executor, statements: readonly InStatement[]): Promise<unknown[]> {
  const results: unknown[] = []
  for (const statement of statements) results.push(await executor.run(toStatement(statement)))
  return results
}

function toStatement(statement: InStatement, args?: InArgs): LibsqlStatement {
  if (typeof statement === 'string') return made(statement, args)
  return 'sql' in statement ? made(statement.sql, statement.args) : made(statement[0], statement[1])
}

function made(sql: string, args: InArgs = []): LibsqlStatement {
  if (Array.isArray(args)) return { sql, params: args, asArrays: false }
  return { sql, params: [], asArrays: false, named: args }
}

/** `deferred` may end up writing, and would then be refused the lock at once if others wrote meanwhile: begin as a writer. */
function optionsFor(mode: string | undefined): TransactionOptions {
  return mode === 'read' ? { readOnly: true } : {}
}
