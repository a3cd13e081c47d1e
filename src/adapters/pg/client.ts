import type { Client as Driver } from 'pg'
import { Fifo } from '../../driver/fifo.ts'
import type { Client, ClientQuery, Sent } from '../postgresql/client.ts'
import { copyRefused } from '../postgresql/errors.ts'
import type { OnNotify } from '../postgresql/listen.ts'
import type { Named } from '../postgresql/prepared.ts'
import type { TypedText } from '../postgresql/values.ts'
import { Query } from './query.ts'

/**
 * A client of pg for one connection. pg is given one statement at a time, by its `query`, which is what tracing tools patch;
 * how the server answers shows on its `connection`.
 */
export class PgClient implements Client {
  readonly #driver: Driver
  /** The first one is on its way. */
  readonly #queries = new Fifo<Query>()
  readonly #prefix = Math.random().toString(36).slice(2)
  #names = 0

  /** @param driver given its socket, and not connected yet */
  constructor(driver: Driver, onNotify: OnNotify | undefined) {
    this.#driver = driver
    const fail = (error: Error | null) => {
      if (error !== null) this.#queries.first?.fail(error)
    }
    driver.on('error', fail)
    driver.on('notification', ({ channel, payload = '' }) => onNotify?.(channel, payload))
    driver.connect(fail)
    driver.connection
      .on('parseComplete', () => this.#queries.first?.isParsed())
      .on('commandComplete', ({ text }: { readonly text: string }) => this.#queries.first?.isCompleted(text))
      .on('copyInResponse', () => fail(copyRefused()))
      .on('copyOutResponse', () => fail(copyRefused()))
      // Behind pg's own listeners, which `connect` has added: the answer is there, and pg takes the next statement.
      .on('readyForQuery', () => this.#isReady())
  }

  typed(value: string, type: number): TypedText {
    return { value, type }
  }

  send(asked: ClientQuery): Sent {
    const { parsed } = asked
    const name = parsed && (parsed.named?.name ?? `${this.#prefix}_${this.#names++}`)
    return this.#enqueue(new Query(asked, name))
  }

  deallocate({ name }: Named): Sent {
    const sql = `deallocate "${name}"`
    const asked = { sql, bound: [], asArrays: false, relational: null, parsed: null, carriesBegin: false }
    return this.#enqueue(new Query(asked, null, name))
  }

  end(): void {
    void this.#driver.end()
  }

  drop(): void {
    this.end()
  }

  #enqueue(query: Query): Sent {
    this.#queries.push(query)
    if (this.#queries.first === query) this.#run(query)
    return query
  }

  #run(query: Query): void {
    // Not before its turn: statements that wait still run by the name.
    if (query.deallocates !== null) this.#forget(query.deallocates)
    this.#driver.query(query.config, (error, result) => query.isAnswered(error, result))
  }

  #isReady(): void {
    const query = this.#queries.first
    if (query?.settle() !== true) return
    if (query.unparsed !== null) this.#forget(query.unparsed)
    this.#queries.shift()
    const next = this.#queries.first
    if (next !== undefined) this.#run(next)
  }

  /** pg keeps the text of what it has prepared by a name, and has no call that drops it. */
  #forget(name: string): void {
    Reflect.deleteProperty(Object(Reflect.get(this.#driver.connection, 'parsedStatements')), name)
  }
}
