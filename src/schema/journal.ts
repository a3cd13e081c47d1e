import { setTimeout as sleep } from 'node:timers/promises'
import { type SQL, sql } from 'drizzle-orm'
import {
  AbortedError,
  ConnectionLostError,
  causes,
  DrizzleCeleryError,
  PoolTimeoutError,
  ResponseTooLargeError,
  StatementTimeoutError,
  textOf,
} from '../errors.ts'
import { quoteBy, quotedText } from '../models/names.ts'
import type { DatabaseSchema, LockedSchema, SchemaReader } from './diff.ts'
import { SchemaError } from './errors.ts'

/** One migration of a drizzle-kit folder. */
export interface Migration {
  /** drizzle-kit's tag, such as `0000_first`. */
  readonly name: string
  /** SHA-256 of its file in hex, whatever the ends of its lines. */
  readonly hash: string
  readonly statements: readonly string[]
}

/** Who runs a migration, where locks do not reach everybody, and how far it came. */
export interface Claim {
  /** A name that no other process has. */
  readonly owner: string
  /** The statement that is under way, counted from 1; with 0 none was begun. */
  readonly statement: number
}

/** What stands in the place of a migration's hash while it is being run. */
function textOfClaim({ owner, statement }: Claim): string {
  return `begun ${statement} ${owner}`
}

/** The claim that stands in the place of a hash; undefined for a migration that ran. */
export function claimOf(hash: string): Claim | undefined {
  const [, statement, owner] = /^begun (\d+) (.+)$/.exec(hash) ?? []
  return owner === undefined ? undefined : { owner, statement: Number(statement) }
}

/** The key is there, or was written on another node at the same time. */
const TAKEN: ReadonlySet<string> = new Set(['ER_DUP_ENTRY', 'ER_LOCK_DEADLOCK'])

/** The table that records which migrations ran. */
export class Journal {
  readonly #schema: DatabaseSchema
  readonly #name: string
  readonly #table: SQL

  constructor(schema: DatabaseSchema, name: string) {
    this.#schema = schema
    this.#name = name
    this.#table = sql`${sql.identifier(name)}`
  }

  /** The hashes of the migrations that ran, by their names; undefined if the table does not exist. */
  async read(reader: SchemaReader): Promise<Map<string, string> | undefined> {
    try {
      const rows = await reader.rows(sql`select name, hash from ${this.#table}`)
      return new Map(rows.map((row) => [textOf(row, 'name') ?? '', textOf(row, 'hash') ?? '']))
    } catch (error) {
      if (this.#schema.isMissingTable(error)) return undefined
      throw this.#failed('read', error)
    }
  }

  async create(locked: LockedSchema): Promise<void> {
    try {
      await locked.rows(sql`create table if not exists ${this.#table} (name varchar(255) primary key,
        hash varchar(64) not null, applied_at timestamp default current_timestamp not null)`)
    } catch (error) {
      throw this.#failed('create', error)
    }
  }

  /** @param hasRun it cannot be undone: then the error says what is still to be done by hand */
  async note(migration: Migration, locked: LockedSchema, { hasRun = false } = {}): Promise<void> {
    const { name, hash } = migration
    try {
      await locked.rows(sql`insert into ${this.#table} (name, hash) values (${name}, ${hash})`)
    } catch (error) {
      const then = `The migration ${name} was run, and that is not noted. Note it by hand: ${this.noteText(migration)};`
      throw this.#failed('write to', error, hasRun ? then : undefined)
    }
  }

  /**
   * Claims a migration before it is run; false where somebody else has it. The row is committed, and the primary key of
   * one is all that is in the way of another on another node: their locks do not reach each other.
   */
  async claim({ name }: Migration, claim: Claim, locked: LockedSchema): Promise<boolean> {
    return await this.#unlessTaken(
      sql`insert into ${this.#table} (name, hash) values (${name}, ${textOfClaim(claim)})`,
      locked,
    )
  }

  /** Notes migrations that were not to be run, all or none of them; false where somebody else does. */
  async noteAll(migrations: readonly Migration[], locked: LockedSchema): Promise<boolean> {
    const values = sql.join(
      migrations.map(({ name, hash }) => sql`(${name}, ${hash})`),
      sql`, `,
    )
    return await this.#unlessTaken(sql`insert into ${this.#table} (name, hash) values ${values}`, locked)
  }

  /** Puts one claim in the place of another; false where it was not there any more. */
  async exchange({ name }: Migration, from: Claim, to: Claim, locked: LockedSchema): Promise<boolean> {
    return await this.#replace(name, from, textOfClaim(to), locked)
  }

  /** A sign of life of who has the claim. */
  async renew({ name }: Migration, { owner }: Claim): Promise<void> {
    await this.#schema.rows(sql`update ${this.#table} set applied_at = current_timestamp
      where name = ${name} and hash like 'begun %' and right(hash, ${owner.length}) = ${owner}`)
  }

  /**
   * Sees that signs of life can be given while a statement runs: by another connection than the statement's.
   * @throws SchemaError where the pool has none to spare, since others would take the owner for dead
   */
  async assertRenewable(): Promise<void> {
    try {
      await this.#schema.rows(sql`select 1`)
    } catch (error) {
      if (!causes(error).some((cause) => cause instanceof PoolTimeoutError)) throw error
      throw failed('run the migrations', error, `${SECOND_CONNECTION} Nothing was changed.`, [])
    }
  }

  /** Notes that a claimed migration has run. */
  async finish(migration: Migration, claim: Claim, locked: LockedSchema): Promise<void> {
    const { name, hash } = migration
    const then = `The migration ${name} was run, and that is not noted. Note it by hand: ${this.finishText(migration)};`
    if (await this.#replace(name, claim, hash, locked, then)) return
    throw failed(`write to the table of migrations "${this.#name}"`, new Error('the claim is gone'), then, [])
  }

  /** Gives a claim back, of which nothing was run. */
  async release({ name }: Pick<Migration, 'name'>, claim: Claim, locked: LockedSchema): Promise<void> {
    await this.#replace(name, claim, undefined, locked)
  }

  /** The last sign of life of who has a claim; undefined where it is not there any more. */
  async signOf(name: string, claim: Claim, locked: LockedSchema): Promise<string | undefined> {
    const rows = await locked.rows(
      sql`select cast(applied_at as char) as sign from ${this.#table}
        where name = ${name} and hash = ${textOfClaim(claim)}`,
    )
    return textOf(rows[0], 'sign')
  }

  /** The SQL of `finish`, to be run by hand. */
  finishText({ name, hash }: Migration): string {
    return `UPDATE ${quoteBy('`')(this.#name)} SET hash = '${hash}' WHERE name = ${quotedText(name)}`
  }

  /** The SQL that forgets a claim, for who has undone what was run. */
  forgetText({ name }: Pick<Migration, 'name'>): string {
    return `DELETE FROM ${quoteBy('`')(this.#name)} WHERE name = ${quotedText(name)}`
  }

  /**
   * Puts a text in the place of a claim, or takes its row away; false where another is there. That the server undid it says
   * nothing: a DDL statement of somebody who begins does so, and a sign of life on another node.
   */
  async #replace(
    name: string,
    claim: Claim,
    text: string | undefined,
    locked: LockedSchema,
    then?: string,
  ): Promise<boolean> {
    const from = textOfClaim(claim)
    const query =
      text === undefined
        ? sql`delete from ${this.#table} where name = ${name} and hash = ${from}`
        : sql`update ${this.#table} set hash = ${text}, applied_at = current_timestamp
            where name = ${name} and hash = ${from}`
    for (;;) {
      await this.#unlessTaken(query, locked, then)
      const found = (await this.read(locked))?.get(name)
      if (found === text) return true
      if (found !== from) return false
      await sleep(20)
    }
  }

  /** @param then what an error adds */
  async #unlessTaken(query: SQL, locked: LockedSchema, then?: string): Promise<boolean> {
    try {
      await locked.rows(query)
      return true
    } catch (error) {
      if (causes(error).some((cause) => TAKEN.has(textOf(cause, 'code') ?? ''))) return false
      throw this.#failed('write to', error, then)
    }
  }

  /** The SQL of `note`, to be run by hand. */
  noteText({ name, hash }: Migration): string {
    const table = quoteBy('`')(this.#name)
    return `INSERT INTO ${table} (name, hash) VALUES (${quotedText(name)}, '${hash}')`
  }

  /**
   * Errors of the connection pass through unchanged: another attempt may succeed.
   * @param then what is left to be done by hand: then there must be no other attempt
   */
  #failed(what: string, error: unknown, then?: string): unknown {
    const isOurs = causes(error).some((cause) => cause instanceof DrizzleCeleryError)
    if (then === undefined && (isOurs || this.#schema.isRace(error))) return error
    const advice = then ?? 'Nothing was changed.'
    return failed(`${what} the table of migrations "${this.#name}"`, error, advice, [])
  }
}

const SECOND_CONNECTION =
  'On a cluster whose locks end at the node a migration takes a second connection, by which others are told that its ' +
  'process lives: give the pool room for two (pool_size + max_overflow).'

/** Whether nobody knows what became of the statement that failed with this error. */
export function mayHaveRun(error: unknown): boolean {
  return causes(error).some((cause) => UNKNOWN.some((each) => cause instanceof each))
}

const UNKNOWN = [ConnectionLostError, StatementTimeoutError, ResponseTooLargeError, AbortedError]

export function failed(
  what: string,
  cause: unknown,
  then: string,
  statements: readonly string[],
): SchemaError {
  const mayNot = causes(cause).some((link) => FORBIDDEN.has(textOf(link, 'code') ?? ''))
  return new SchemaError(
    mayNot ? 'SCHEMA_PERMISSION' : 'SCHEMA_MIGRATIONS',
    `Cannot ${what}: ${reasonOf(cause)}. ${then}`,
    { statements, cause },
  )
}

/** PostgreSQL's code, and the names of MySQL's. */
const FORBIDDEN = new Set([
  '42501',
  'ER_DBACCESS_DENIED_ERROR',
  'ER_TABLEACCESS_DENIED_ERROR',
  'ER_COLUMNACCESS_DENIED_ERROR',
  'ER_SPECIFIC_ACCESS_DENIED_ERROR',
])

export function reasonOf(error: unknown): string {
  return (
    causes(error)
      .flatMap((link) => textOf(link, 'message') ?? [])
      .at(-1) ?? 'a statement failed'
  )
}
