import type { Client, SentStatement } from './driver.ts'

/**
 * A client that knows what has set up its SQLite connection, and sets up each one that replaces it. That is done with the next
 * call, not at once: the lock for which a connection was replaced is there still, and stands in the way of a temporary
 * table, and of many a pragma, as of any statement.
 *
 * One call is under way at a time.
 */
export class SetUpClient implements Client {
  readonly #client: Client
  readonly #statements: SentStatement[] = []
  /** What the SQLite connection has still to be told. */
  #missing: SentStatement[] = []

  constructor(client: Client) {
    this.#client = client
  }

  /** Something was set up, and stays. */
  add(statement: SentStatement): void {
    this.#statements.push(statement)
  }

  reconnect(): void {
    this.#client.reconnect()
    this.#missing = [...this.#statements]
  }

  execute(statement: SentStatement): ReturnType<Client['execute']> {
    return this.#setUp(() => this.#client.execute(statement))
  }

  transaction(mode: Parameters<Client['transaction']>[0]): ReturnType<Client['transaction']> {
    return this.#setUp(() => this.#client.transaction(mode))
  }

  migrate(statements: SentStatement[]): ReturnType<Client['migrate']> {
    return this.#setUp(() => this.#client.migrate(statements))
  }

  executeMultiple(sql: string): Promise<void> {
    return this.#setUp(() => this.#client.executeMultiple(sql))
  }

  sync(): Promise<unknown> {
    return this.#client.sync()
  }

  close(): void {
    this.#client.close()
  }

  #setUp<Result>(call: () => Promise<Result>): Promise<Result> {
    const [next] = this.#missing
    if (next === undefined) return call()
    return this.#client.execute(next).then(() => {
      this.#missing.shift()
      return this.#setUp(call)
    })
  }
}
