import { setTimeout as sleep } from 'node:timers/promises'
import { isPath } from '../dburi/schemes.ts'
import type { Dburi } from '../dburi/types.ts'
import { onAbort } from '../driver/deadline.ts'
import type { NotificationHandler, Subscription } from '../driver/types.ts'
import type { Engine } from '../engine/engine.ts'
import { Scope } from '../engine/scope.ts'
import {
  ClosedError,
  causes,
  DrizzleCeleryError,
  OptionError,
  PoolTimeoutError,
  textOf,
  toError,
} from '../errors.ts'
import { namesBy, quoteBy } from '../models/names.ts'
import { refused } from '../options/values.ts'
import { backoffMilliseconds, retry } from '../retry.ts'
import { schemaError } from '../schema/diff.ts'
import { SchemaError } from '../schema/errors.ts'
import { isRace, troubleOf } from '../schema/postgresql/errors.ts'
import { isTransient } from './retrying.ts'
import { READY, rowsOf, type TableNames } from './statements/types.ts'
import type { TableAccess } from './tables.ts'

/** @throws OptionError where there is no NOTIFY, and on a directory, which only one process can open */
export function assertNotifies(dburi: Dburi): void {
  if (dburi.dialect !== 'postgresql' || isPath(dburi)) throw refusal()
}

function refusal(): OptionError {
  return refused('notify', 'only a PostgreSQL server can notify of results, by postgres.js or pg')
}

export interface ListenerOptions {
  /** Whether changes of unfinished tasks are to be notified as well. */
  readonly withChanges: boolean
  fail(error: unknown): void
}

/**
 * Listens for results on a connection beside those of `access`. A failure that only a change of the set-up can end goes to
 * `fail`; any other is a warning the first time and is retried, since results are polled meanwhile.
 */
export function listenerOn(access: TableAccess, { withChanges, fail }: ListenerOptions): ResultListener {
  let hasWarned = false
  return new ResultListener({
    open: (handler, signal) =>
      access.use(
        async ({ engine }): Promise<Subscription> => {
          const { listen } = engine
          if (listen === undefined) throw refusal()
          const channel = await prepareTriggers(engine, access.names, withChanges)
          const subscription = await listen(channel, handler, signal)
          if (subscription === null)
            throw new DrizzleCeleryError('CANNOT_LISTEN', 'a pooler stands in between')
          return subscription
        },
        { signal },
      ),

    onFailure(error) {
      if (isLasting(error)) fail(error)
      else if (!hasWarned && !isElsewhere(error)) {
        hasWarned = true
        const why = toError(error).message
        process.emitWarning(`Cannot hear of results, which are asked for instead: ${why}`, {
          code: 'DRIZZLE_CELERY_CANNOT_LISTEN',
        })
      }
    },
  })
}

/** This database cannot notify at all, or this role may not create the trigger: no retry helps. */
function isLasting(error: unknown): boolean {
  return error instanceof OptionError || (error instanceof SchemaError && !PASSING.has(error.code))
}

const PASSING: ReadonlySet<string> = new Set(['SCHEMA_LOCK_TIMEOUT', 'SCHEMA_CONFLICT'])

/** Polling meets the same failure and reports it. */
function isElsewhere(error: unknown): boolean {
  return (
    isTransient(error) ||
    error instanceof PoolTimeoutError ||
    error instanceof ClosedError ||
    error instanceof SchemaError
  )
}

const { qualified } = namesBy(quoteBy('"'))

/** The name of the trigger, of which a table has one, and of its function, of which a schema has one. */
const NAME = 'drizzle_celery_notify'
/** The trigger for changes of unfinished tasks, which uses the same function and channel. */
const CHANGES = 'drizzle_celery_notify_changes'

/** The key of our advisory lock: any number that no other program uses. */
const LOCK = '8316450117624385921'

/** A table of tasks, and which parts of the trigger exist. */
interface Found {
  readonly schema: string
  readonly table: string
  /** The channel of the existing trigger; `null` without one. */
  readonly channel: string | null
  /** The channel of a trigger that we create. */
  readonly ownChannel: string
  readonly hasFunction: boolean
  /** The channel of the existing trigger for changes; `null` without one. */
  readonly changesChannel: string | null
  readonly role: string
}

/**
 * Makes sure that a trigger sends the ids of finished tasks to a channel, whichever program stores them, and with
 * `withChanges` a second one those of unfinished tasks that change. Any number of processes may create them at once.
 * @returns the channel
 * @throws SchemaError with the statements that a privileged role could run
 */
async function prepareTriggers(
  engine: Engine,
  { task, taskSchema }: TableNames,
  withChanges: boolean,
): Promise<string> {
  const table = qualified(taskSchema, task)
  let last: Found | undefined
  try {
    return await retry(
      async () => {
        last = await introspect(engine, table)
        if (statementsFor(last, withChanges).length > 0) await create(engine, last, withChanges)
        return last.channel ?? last.ownChannel
      },
      { retries: 5, base: 10, max: 1_000, retryable: (error) => causes(error).some(isRace) },
    )
  } catch (error) {
    throw explained(error, last, withChanges)
  }
}

async function introspect(engine: Engine, table: string): Promise<Found> {
  const answer = await engine.run({ sql: CATALOGUE, params: [table, NAME, CHANGES], asArrays: false })
  const [row] = rowsOf(answer)
  const at = (column: string) => textOf(row, column)
  return {
    schema: at('schema') ?? '',
    table: at('name') ?? '',
    channel: at('channel') ?? null,
    ownChannel: `drizzle_celery_${at('oid')}`,
    hasFunction: at('has_function') === 'true',
    changesChannel: at('changes_channel') ?? null,
    role: at('role') ?? '',
  }
}

/** The channel is the trigger's argument: the table may have another oid since, restored from a dump. */
const CATALOGUE = `select n.nspname::text as schema, c.relname::text as name, c.oid::text as oid, current_user::text as role,
${channelOf('$2')} as channel,
${channelOf('$3')} as changes_channel,
exists (select 1 from pg_catalog.pg_proc p where p.pronamespace = n.oid and p.proname = $2::text and p.pronargs = 0
)::text as has_function
from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where c.oid = pg_catalog.to_regclass($1::text)`

function channelOf(trigger: string): string {
  return `(select pg_catalog.convert_from(pg_catalog.substr(t.tgargs, 1, pg_catalog.length(t.tgargs) - 1), 'UTF8')
from pg_catalog.pg_trigger t where t.tgrelid = c.oid and t.tgname = ${trigger}::text and t.tgnargs = 1 and t.tgenabled <> 'D'
)`
}

/**
 * Sends all statements as one text, which is one transaction that leaves no setting on the connection, and on a connection
 * of its own, so that no other statement waits. The lock lets concurrent callers wait instead of fail; after it they find
 * the trigger created, which counts as a lost race and is retried.
 */
async function create(engine: Engine, found: Found, withChanges: boolean): Promise<void> {
  const lock =
    `select pg_catalog.pg_advisory_xact_lock(${LOCK}) ` +
    `from pg_catalog.set_config('lock_timeout', '5000', true)`
  const lease = await engine.checkout({})
  const scope = Scope.autocommit(lease.connection, engine.limits)
  scope.onEnd = () => lease.release()
  try {
    await scope.run({
      sql: [lock, ...statementsFor(found, withChanges)].join(';\n'),
      params: [],
      asArrays: false,
    })
  } finally {
    await scope.close()
  }
}

/** What is missing. */
function statementsFor({ channel, ownChannel, ...found }: Found, withChanges: boolean): string[] {
  const { schema, table, hasFunction, changesChannel } = found
  const name = qualified(schema, NAME)
  const target = channel ?? ownChannel
  const argument = `'${target.replaceAll("'", "''")}'`
  const makeFunction =
    `create function ${name}() returns trigger language plpgsql as ` +
    '$$begin perform pg_catalog.pg_notify(tg_argv[0], new.task_id); return null; end$$'
  const makeTrigger = (trigger: string, columns: string, condition: string) =>
    `create trigger ${trigger} after insert or update of ${columns} on ${qualified(schema, table)} ` +
    `for each row when (${condition}) execute function ${name}(${argument})`
  const triggers = [
    ...(channel === null ? [makeTrigger(NAME, 'status', `new.status in ${READY}`)] : []),
    ...(withChanges && changesChannel !== target
      ? [
          ...(changesChannel === null ? [] : [`drop trigger ${CHANGES} on ${qualified(schema, table)}`]),
          makeTrigger(CHANGES, 'status, result', `new.status not in ${READY}`),
        ]
      : []),
  ]
  return triggers.length === 0 || hasFunction ? triggers : [makeFunction, ...triggers]
}

function explained(error: unknown, found: Found | undefined, withChanges: boolean): unknown {
  if (found === undefined) return error
  const statements = statementsFor(found, withChanges)
  if (statements.length === 0) return error
  const race = causes(error).find(isRace)
  const trouble =
    race === undefined
      ? troubleOf(error)
      : { code: 'SCHEMA_CONFLICT' as const, reason: `others keep creating it: ${textOf(race, 'message')}` }
  if (trouble === undefined) return error
  return schemaError(trouble.code, trouble.reason, {
    labels: [`the trigger ${NAME} on ${qualified(found.schema, found.table)}`],
    statements,
    grant: trouble.code === 'SCHEMA_PERMISSION' ? grantFor(found) : undefined,
    cause: error,
  })
}

function grantFor({ schema, table, role, hasFunction }: Found): string {
  const grants = [`GRANT TRIGGER ON TABLE ${qualified(schema, table)} TO ${qualified(undefined, role)}`]
  const inSchema = `GRANT USAGE, CREATE ON SCHEMA ${qualified(undefined, schema)} TO ${qualified(undefined, role)}`
  return (hasFunction ? grants : [...grants, inSchema]).join(';\n')
}

/** Callbacks of a listener. */
export interface ListenerEvents {
  /** Whether every result that is stored from now on is notified. */
  onListening(isListening: boolean): void
  /** A task is done. */
  onResult(taskId: string): void
}

export interface ListenerParts {
  /** Opens a connection that listens. */
  open(handler: NotificationHandler, signal: AbortSignal): Promise<Subscription>
  /** Why it could not be opened; it will be tried again. */
  onFailure(error: unknown): void
}

/** Milliseconds for which the connection stays open after the last waiter, for the next one. */
const LINGER = 1_000
/** Between two attempts, in milliseconds. */
const BACKOFF = { base: 250, max: 30_000 }

/**
 * Keeps a listening connection open as long as there are waiters, and opens it again when it is lost. It keeps no process
 * alive: the waiters do.
 */
export class ResultListener {
  readonly #parts: ListenerParts
  #running: AbortController | null = null
  #linger: NodeJS.Timeout | undefined
  #ended: Promise<unknown> = Promise.resolve()

  constructor(parts: ListenerParts) {
    this.#parts = parts
  }

  /** To be called when there are waiters. */
  start(events: ListenerEvents): void {
    clearTimeout(this.#linger)
    if (this.#running !== null) return
    this.#running = new AbortController()
    this.#ended = Promise.all([this.#ended, this.#run(events, this.#running.signal)])
  }

  /** To be called when there are none any more. */
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
        await this.#listen(events, signal)
        failures = 0
      } catch (error) {
        if (!signal.aborted) this.#parts.onFailure(error)
      }
      // It rejects only when the signal is aborted, which ends this as well.
      await sleep(backoffMilliseconds(failures, BACKOFF), undefined, { signal, ref: false }).catch(() => {})
    }
  }

  /** Listens until the connection is lost or the signal is aborted. */
  async #listen({ onListening, onResult }: ListenerEvents, signal: AbortSignal): Promise<void> {
    let end = () => {}
    const isOver = new Promise<void>((resolve) => {
      // Without the signal's event, which the race below would take for a subscription.
      end = () => resolve()
    })
    const unlisten = onAbort(signal, end)
    try {
      const opening = this.#parts.open({ onMessage: onResult, onLost: end }, signal)
      const subscription = await Promise.race([opening, isOver])
      if (subscription === undefined) {
        // The server may never answer. If it does, the connection is closed, and a failure no longer matters.
        void opening.then((late) => late.close()).catch(() => {})
        return
      }

      onListening(true)
      await isOver
      onListening(false)
      await subscription.close()
    } finally {
      unlisten()
    }
  }
}
