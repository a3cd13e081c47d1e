import { causes, textOf } from '../causes.ts'
import type { Engine } from '../engine.ts'
import { retry } from '../retry.ts'
import { schemaError } from '../schema/diff.ts'
import { isRace, troubleOf } from '../schema/postgresql/errors.ts'
import { Scope } from '../transaction.ts'
import { qualified } from './statements/postgresql.ts'
import { READY, rowsOf, type TableNames } from './statements/statements.ts'

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
export async function prepareTrigger(engine: Engine, { task, taskSchema }: TableNames): Promise<string> {
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
