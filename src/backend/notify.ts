import { setTimeout as sleep } from 'node:timers/promises'
import { parseDburi } from '../dburi/parse.ts'
import type { NotificationHandler, Subscription } from '../driver/types.ts'
import type { Engine } from '../engine/engine.ts'
import { registeredSchemes } from '../engine/registry.ts'
import { Scope } from '../engine/scope.ts'
import {
  ClosedError,
  causes,
  DrizzleCeleryError,
  OptionError,
  PoolTimeoutError,
  SchemaError,
  textOf,
} from '../errors.ts'
import { refused } from '../options/values.ts'
import { backoffMilliseconds, retry } from '../retry.ts'
import { schemaError } from '../schema/diff.ts'
import { isRace, troubleOf } from '../schema/postgresql/errors.ts'
import { isTransient } from './retrying.ts'
import { qualified } from './statements/postgresql.ts'
import { READY, rowsOf, type TableNames } from './statements/types.ts'
import type { TableAccess } from './tables.ts'

/** @throws OptionError where there is no NOTIFY, and on PGlite, which only one process can open */
export function assertNotifies(dburi: string): void {
  const { dialect, driver } = parseDburi(dburi, registeredSchemes())
  if (dialect !== 'postgresql' || driver === 'pglite') throw refusal()
}

function refusal(): OptionError {
  return refused('notify', 'only a PostgreSQL server can notify of results, and only by postgres.js')
}

/**
 * Hears of results on a connection of its own, beside those of `access`. What can only be mended by somebody is given to
 * `fail`; everything else is told once and tried again, for those who wait are asked for meanwhile.
 */
export function listenerOn(access: TableAccess, fail: (error: unknown) => void): ResultListener {
  let wasTold = false
  return new ResultListener({
    open: (hearing, signal) =>
      access.use(
        async ({ engine }): Promise<Subscription> => {
          const { listen } = engine
          if (listen === undefined) throw refusal()
          const channel = await prepareTrigger(engine, access.names)
          const listening = await listen(channel, hearing, signal)
          if (listening === null) throw new DrizzleCeleryError('CANNOT_LISTEN', 'a pooler stands in between')
          return listening
        },
        { signal },
      ),

    onFailure(error) {
      if (isLasting(error)) fail(error)
      else if (!wasTold && !isElsewhere(error)) {
        wasTold = true
        const why = error instanceof Error ? error.message : String(error)
        process.emitWarning(`Cannot hear of results, which are asked for instead: ${why}`, {
          code: 'DRIZZLE_CELERY_CANNOT_LISTEN',
        })
      }
    },
  })
}

/** Nobody ever hears on this database, or the trigger cannot be made as things are. */
function isLasting(error: unknown): boolean {
  return error instanceof OptionError || (error instanceof SchemaError && !PASSING.has(error.code))
}

const PASSING: ReadonlySet<string> = new Set(['SCHEMA_LOCK_TIMEOUT', 'SCHEMA_CONFLICT'])

/** Those who ask meet the same trouble, and know what to make of it. */
function isElsewhere(error: unknown): boolean {
  return (
    isTransient(error) ||
    error instanceof PoolTimeoutError ||
    error instanceof ClosedError ||
    error instanceof SchemaError
  )
}

/** What the trigger and its function are called: one trigger a table, one function a schema. */
const NAME = 'drizzle_celery_notify'

/** An advisory lock of our own among those of the database: any number, as long as nobody else thinks of it. */
const LOCK = '8316450117624385921'

/** A table of tasks, and what of the trigger is there already. */
interface Found {
  readonly schema: string
  readonly table: string
  /** Where the trigger sends ids; `null` where there is none. */
  readonly channel: string | null
  /** Where one that is to be made will send them. */
  readonly ownChannel: string
  readonly hasFunction: boolean
  readonly role: string
}

/**
 * Sees to it that a table of tasks tells on a channel which of them are done, whoever stores it: with a trigger, which is
 * created if it is missing, and of which any number of processes may think so at once.
 * @returns the channel
 * @throws SchemaError with what somebody else could run
 */
async function prepareTrigger(engine: Engine, { task, taskSchema }: TableNames): Promise<string> {
  const table = qualified(taskSchema, task)
  let last: Found | undefined
  try {
    return await retry(
      async () => {
        last = await look(engine, table)
        if (last.channel !== null) return last.channel
        await create(engine, last)
        return last.ownChannel
      },
      { retries: 5, base: 10, max: 1_000, retryable: (error) => causes(error).some(isRace) },
    )
  } catch (error) {
    throw explained(error, last)
  }
}

async function look(engine: Engine, table: string): Promise<Found> {
  const answer = await engine.run({ sql: LOOK, params: [table, NAME], asArrays: false })
  const [row] = rowsOf(answer)
  const at = (column: string) => textOf(row, column)
  return {
    schema: at('schema') ?? '',
    table: at('name') ?? '',
    channel: at('channel') ?? null,
    ownChannel: `drizzle_celery_${at('oid')}`,
    hasFunction: at('has_function') === 'true',
    role: at('role') ?? '',
  }
}

/** A trigger says itself where it sends: its table may have been renamed since, or restored from a dump. */
const LOOK = `select n.nspname::text as schema, c.relname::text as name, c.oid::text as oid, current_user::text as role,
(select pg_catalog.convert_from(pg_catalog.substr(t.tgargs, 1, pg_catalog.length(t.tgargs) - 1), 'UTF8')
from pg_catalog.pg_trigger t where t.tgrelid = c.oid and t.tgname = $2::text and t.tgnargs = 1 and t.tgenabled <> 'D'
) as channel,
exists (select 1 from pg_catalog.pg_proc p where p.pronamespace = n.oid and p.proname = $2::text and p.pronargs = 0
)::text as has_function
from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where c.oid = pg_catalog.to_regclass($1::text)`

/**
 * In one text, which is one transaction without anything to set on the connection, and on a connection of its own: nobody's
 * statement waits with it. The lock spares those who come at once a failure; who has waited for it finds the trigger made,
 * which is a race lost.
 */
async function create(engine: Engine, found: Found): Promise<void> {
  const lock =
    `select pg_catalog.pg_advisory_xact_lock(${LOCK}) ` +
    `from pg_catalog.set_config('lock_timeout', '5000', true)`
  const lease = await engine.checkout({})
  const scope = Scope.autocommit(lease.connection, engine.limits)
  scope.onEnd = () => lease.release()
  try {
    await scope.run({ sql: [lock, ...statementsFor(found)].join(';\n'), params: [], asArrays: false })
  } finally {
    await scope.close()
  }
}

function statementsFor({ schema, table, ownChannel, hasFunction }: Found): string[] {
  const name = qualified(schema, NAME)
  const makeFunction =
    `create function ${name}() returns trigger language plpgsql as ` +
    '$$begin perform pg_catalog.pg_notify(tg_argv[0], new.task_id); return null; end$$'
  const makeTrigger =
    `create trigger ${NAME} after insert or update of status on ${qualified(schema, table)} ` +
    `for each row when (new.status in ${READY}) execute function ${name}('${ownChannel}')`
  return hasFunction ? [makeTrigger] : [makeFunction, makeTrigger]
}

function explained(error: unknown, found: Found | undefined): unknown {
  if (found === undefined || found.channel !== null) return error
  const race = causes(error).find(isRace)
  const trouble =
    race === undefined
      ? troubleOf(error)
      : { code: 'SCHEMA_CONFLICT' as const, reason: `others keep creating it: ${textOf(race, 'message')}` }
  if (trouble === undefined) return error
  return schemaError(trouble.code, trouble.reason, {
    labels: [`the trigger ${NAME} on ${qualified(found.schema, found.table)}`],
    statements: statementsFor(found),
    grant: trouble.code === 'SCHEMA_PERMISSION' ? grantFor(found) : undefined,
    cause: error,
  })
}

function grantFor({ schema, table, role, hasFunction }: Found): string {
  const grants = [`GRANT TRIGGER ON TABLE ${qualified(schema, table)} TO ${qualified(undefined, role)}`]
  const inSchema = `GRANT USAGE, CREATE ON SCHEMA ${qualified(undefined, schema)} TO ${qualified(undefined, role)}`
  return (hasFunction ? grants : [...grants, inSchema]).join(';\n')
}

/** Who wants to hear of results. */
export interface ListenerEvents {
  /** From now on whatever is stored is heard of; or no more. */
  onHearing(isHearing: boolean): void
  /** A task is done. */
  onResult(taskId: string): void
}

export interface ListenerParts {
  /** Opens a connection that listens. */
  open(hearing: NotificationHandler, signal: AbortSignal): Promise<Subscription>
  /** Why it could not be opened; it will be tried again. */
  onFailure(error: unknown): void
}

/** Milliseconds for which the connection is kept when nobody waits any more: the next who waits finds it open. */
const LINGER = 1_000
/** Between two attempts, in milliseconds. */
const BACKOFF = { base: 250, max: 30_000 }

/**
 * Has a connection that listens as long as somebody waits, and opens it again when it is lost. It keeps no process alive:
 * those who wait do.
 */
export class ResultListener {
  readonly #parts: ListenerParts
  #running: AbortController | null = null
  #linger: NodeJS.Timeout | undefined
  #ended: Promise<unknown> = Promise.resolve()

  constructor(parts: ListenerParts) {
    this.#parts = parts
  }

  /** Somebody waits. */
  start(events: ListenerEvents): void {
    clearTimeout(this.#linger)
    if (this.#running !== null) return
    this.#running = new AbortController()
    this.#ended = Promise.all([this.#ended, this.#run(events, this.#running.signal)])
  }

  /** Nobody waits any more. */
  stop(): void {
    clearTimeout(this.#linger)
    this.#linger = setTimeout(() => void this.close(), LINGER).unref()
  }

  /** Resolves when no connection is left but one that is just being opened, which is closed as soon as it is. */
  async close(): Promise<void> {
    clearTimeout(this.#linger)
    this.#running?.abort()
    this.#running = null
    await this.#ended
  }

  async #run(events: ListenerEvents, signal: AbortSignal): Promise<void> {
    for (let failures = 0; !signal.aborted; failures++) {
      try {
        await this.#hear(events, signal)
        failures = 0
      } catch (error) {
        if (!signal.aborted) this.#parts.onFailure(error)
      }
      // It rejects only when the signal is aborted, which ends this as well.
      await sleep(backoffMilliseconds(failures, BACKOFF), undefined, { signal, ref: false }).catch(() => {})
    }
  }

  /** Listens until the connection is lost or nobody wants it any more. */
  async #hear({ onHearing, onResult }: ListenerEvents, signal: AbortSignal): Promise<void> {
    let end = () => {}
    const isOver = new Promise<void>((resolve) => {
      // Without the event of the signal, which would pass for what was opened.
      end = () => resolve()
    })
    signal.addEventListener('abort', end)
    const opening = this.#parts.open({ onMessage: onResult, onLost: end }, signal)
    const listening = await Promise.race([opening, isOver])
    if (listening === undefined) {
      // Nobody waits for a server that does not answer; what comes of it is closed, and of interest to nobody.
      void opening.then((late) => late.close()).catch(() => {})
      return
    }

    onHearing(true)
    await isOver
    onHearing(false)
    await listening.close()
  }
}
