import type { Listening } from '../adapter.ts'
import { parseDburi } from '../dburi.ts'
import { registeredSchemes } from '../dialect-resolver.ts'
import { ClosedError, DrizzleCeleryError, OptionError, PoolTimeoutError, SchemaError } from '../errors.ts'
import { refused } from '../option-text.ts'
import { prepareTrigger } from './notify-trigger.ts'
import { ResultListener } from './result-listener.ts'
import { isTransient } from './retrying.ts'
import type { TableAccess } from './table-access.ts'

/** @throws OptionError where there is no NOTIFY, and on PGlite, which only one process can open */
export function refuseNotify(dburi: string): void {
  const { dialect, driver } = parseDburi(dburi, registeredSchemes())
  if (dialect !== 'postgresql' || driver === 'pglite') throw refusal()
}

function refusal(): OptionError {
  return refused('notify', 'only a PostgreSQL server tells of what others store, and only by postgres.js')
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
        async ({ engine }): Promise<Listening> => {
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
