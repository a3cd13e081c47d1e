import type { InArgs, ResultSet } from './drizzle-client.ts'

/** What we use of a client of `@libsql/client`. */
export interface Client {
  execute(statement: SentStatement): Promise<ResultSet>
  transaction(mode: 'write' | 'read' | 'deferred'): Promise<ClientTransaction>
  migrate(statements: SentStatement[]): Promise<ResultSet[]>
  executeMultiple(sql: string): Promise<void>
  sync(): Promise<unknown>
  reconnect(): unknown
  close(): void
}

/** What we use of its transactions. */
export interface ClientTransaction {
  execute(statement: SentStatement): Promise<ResultSet>
  executeMultiple(sql: string): Promise<void>
  commit(): Promise<void>
  rollback(): Promise<void>
  close(): void
}

/** A statement as the driver is given it. */
export interface SentStatement {
  readonly sql: string
  readonly args: InArgs
}

/** Reads a row of a table that always exists. */
export const LOOK: SentStatement = { sql: 'select 1 from sqlite_schema limit 1', args: [] }

/**
 * Milliseconds a statement may wait for a lock in the driver, with the event loop standing still: what others hold for a
 * moment only, such as when they look whether it is free, is not to undo it.
 */
export const DRIVER_TIMEOUT = 5

/** Has what follows wait in the driver again. */
export const WAITING = `pragma busy_timeout=${DRIVER_TIMEOUT}`

/** Has what comes wait for no lock in the driver, until `WAITING`. */
export const NOT_WAITING = 'pragma busy_timeout=0'
