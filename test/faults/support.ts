/** What the tests of faults share: the server seen from outside, and what became of a promise. */
import { setTimeout as sleep } from 'node:timers/promises'
import { causes, DrizzleCeleryError, type PostgresJsHandle } from 'drizzle-celery'
import { sql } from 'drizzle-orm'
import postgres from 'postgres'

/** So that a manager knows which handle it opens. */
export type PostgresDburi = `postgresql://${string}`

/** A dburi with options added to those it has. */
export function withOptions(dburi: string, options: Readonly<Record<string, string>>): PostgresDburi {
  const parsed = new URL(dburi)
  for (const [name, value] of Object.entries(options)) parsed.searchParams.set(name, value)
  // The handle of pg is another type, but has all that tests use.
  return parsed.href.replace(/^postgres:/, 'postgresql:') as PostgresDburi
}

/** A dburi with another user or password; the test server believes everybody on 127.0.0.1. */
export function withPassword(dburi: string, password: string): PostgresDburi {
  const parsed = new URL(dburi)
  parsed.password = encodeURIComponent(password)
  return withOptions(parsed.href, {})
}

/** A backend as `pg_stat_activity` has it. */
export interface Backend {
  readonly pid: number
  readonly state: string
  readonly query: string
}

/** A plain client beside the library, which sees and kills what the library has open. */
export class Observer {
  readonly sql: postgres.Sql

  constructor(dburi: string) {
    this.sql = postgres(dburi.replace(/^postgresql\+pg:/, 'postgresql:'), { max: 2, onnotice: () => {} })
  }

  /** The backends of an application name. */
  async backends(application: string): Promise<Backend[]> {
    const rows = await this.sql<Backend[]>`
      select pid, state, query from pg_stat_activity where application_name = ${application}`
    return [...rows]
  }

  /** Kills a backend and waits until it is gone. */
  async terminate(pid: number): Promise<void> {
    // Its own timeout argument looks only every 100 ms.
    await this.sql`select pg_terminate_backend(${pid})`
    while ((await this.sql`select from pg_stat_activity where pid = ${pid}`).length > 0) await sleep(1)
  }

  /** How many rows of a table have an id like this one. */
  async count(table: string, like = '%'): Promise<number> {
    const [row] = await this.sql`
      select count(*)::int as count from ${this.sql(table)} where id like ${like}`
    return Number(row?.['count'])
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.sql.end({ timeout: 1 })
  }
}

type Runner = Pick<PostgresJsHandle, 'execute'>

/** The backend a handle's statements go to. */
export async function pidOf(db: Runner): Promise<number> {
  const [row] = await db.execute<{ pid: number }>(sql`select pg_backend_pid() as pid`)
  return Number(row?.pid)
}

/** One value that the server is asked for. */
export async function ask(db: Runner, text: string): Promise<unknown> {
  const [row] = await db.execute<{ answer: unknown }>(sql.raw(`select (${text}) as answer`))
  return row?.answer
}

/** What a promise rejects with; undefined when it does not. */
export async function failure(promise: PromiseLike<unknown>): Promise<unknown> {
  try {
    await promise
    return undefined
  } catch (error) {
    return error
  }
}

/** The code of our own error in a chain of causes, or the SQLSTATE of the server's; null where nothing failed. */
export function codeOf(error: unknown): string | null {
  if (error === undefined) return null
  const chain = causes(error)
  const own = chain.find((cause) => cause instanceof DrizzleCeleryError)
  if (own instanceof DrizzleCeleryError) return own.code
  for (const cause of chain) {
    if (cause instanceof Error && 'severity' in cause && 'code' in cause) return `SQLSTATE ${cause.code}`
  }
  return `untyped: ${error}`
}

/** The code a promise rejects with, or null. */
export async function codeFrom(promise: PromiseLike<unknown>): Promise<string | null> {
  return codeOf(await failure(promise))
}

/** What became of a promise within some milliseconds, and after how many. */
export async function outcome(
  promise: PromiseLike<unknown>,
  milliseconds: number,
): Promise<{ state: 'fulfilled' | 'rejected' | 'pending'; after: number; error?: unknown }> {
  const started = performance.now()
  const controller = new AbortController()
  const state = await Promise.race([
    Promise.resolve(promise).then(
      () => ({ state: 'fulfilled' as const }),
      (error: unknown) => ({ state: 'rejected' as const, error }),
    ),
    sleep(milliseconds, { state: 'pending' as const }, { signal: controller.signal }),
  ])
  controller.abort()
  return { ...state, after: performance.now() - started }
}

/** How often each word stands in a list. */
export function tally(words: Iterable<string | null>): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const word of words) counts[String(word)] = (counts[String(word)] ?? 0) + 1
  return counts
}

/** Waits until something is so. */
export async function until(
  condition: () => boolean | Promise<boolean>,
  { within = 20_000 }: { readonly within?: number } = {},
): Promise<number> {
  const started = performance.now()
  while (!(await condition())) {
    if (performance.now() - started > within) throw new Error(`Not so within ${within} ms: ${condition}`)
    await sleep(5)
  }
  return performance.now() - started
}

/** `count` functions' results, all started at once. */
export function times<Result>(count: number, work: (index: number) => Promise<Result>): Promise<Result[]> {
  return Promise.all(Array.from({ length: count }, (_, index) => work(index)))
}
