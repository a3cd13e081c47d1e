import type { SchemaError } from '../errors.ts'
import type { Definition } from './definition.ts'

/** What the models find, and may make, in one database. One implementation a dialect, for one call. */
export interface DatabaseSchema {
  readonly definitions: readonly Definition[]

  /** What is missing, by one catalogue query outside any transaction and without a lock. */
  missing(): Promise<readonly Definition[]>

  /** Locks, looks again, and creates what is still missing, all or nothing; returns what it created. */
  createMissing(): Promise<readonly Definition[]>

  /** Whether somebody else was at the same thing at the same time, so that looking again helps. */
  isRace(error: unknown): boolean

  /** Says what kept the database from being brought up to the models; undefined when we cannot say it better. */
  explain(error: unknown): SchemaError | undefined
}
