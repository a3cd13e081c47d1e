import type { SQL } from 'drizzle-orm'
import type { SchemaError } from '../errors.ts'
import type { Definition, SchemaStatement } from './definition.ts'
import type { Difference } from './report.ts'

/** Where a table that is there falls short of its model. */
export interface Gap {
  readonly difference: Difference
  /** What adds what is missing; undefined where adding is not enough. */
  readonly addition: readonly SchemaStatement[] | undefined
}

/** What a look at the catalogue told. */
export interface Findings {
  readonly missing: readonly Definition[]
  readonly gaps: readonly Gap[]
}

/** What is to be done. */
export interface Changes {
  readonly missing: readonly Definition[]
  readonly additions: readonly Gap[]
}

/** What can be asked of a database. */
export interface SchemaReader {
  /** What is missing, by one catalogue query. */
  look(): Promise<Findings>
  rows(query: SQL): Promise<object[]>
}

/** One transaction that holds the lock of `prepareModels`; on MySQL one connection. */
export interface LockedSchema extends SchemaReader {
  /** Runs statements in order. */
  run(statements: readonly string[]): Promise<void>
}

export interface LockedOptions {
  /** What the lock is for, when it is not for the models. */
  readonly lock?: string
  /** Waits for as long as others need it. @default no longer than 5 s */
  readonly patient?: boolean
  /** SQLite: lets tables be rebuilt whose rows others refer to. @default false */
  readonly withoutForeignKeys?: boolean
}

/** What the models find, and may make, in one database. One implementation a dialect, for one call. */
export interface DatabaseSchema extends SchemaReader {
  readonly definitions: readonly Definition[]
  /** Set where each statement commits by itself, as all DDL does on MySQL. */
  readonly commitsEach?: true
  /** What this call has done and no failure takes back. */
  readonly kept?: Changes

  /** Works where nobody else prepares: in a transaction, all or nothing, unless each statement commits by itself. */
  locked<Result>(work: (schema: LockedSchema) => Promise<Result>, options?: LockedOptions): Promise<Result>

  /** What makes the changes, everything where it belongs as found by the last look, and when it may run. */
  statements(changes: Changes): string[]

  /** Whether a query failed since its table is not there. */
  isMissingTable(error: unknown): boolean

  /** Whether somebody else was at the same thing at the same time, so that looking again helps. */
  isRace(error: unknown): boolean

  /** Says what kept the database from being brought up to the models; undefined when we cannot say it better. */
  explain(error: unknown): SchemaError | undefined
}
