import { importOnce } from '../driver/load.ts'
import type { Engine } from '../engine/engine.ts'
import type { PreparedModels } from '../schema/diff.ts'
import type { PrepareOptions, PrepareTarget } from '../schema/options.ts'
import { channels, seen } from '../tracing/channels.ts'

/**
 * Brings a database up to its models, seen by who listens to `drizzle-celery:prepare`. What does it is loaded when it is
 * first used.
 * @throws SchemaError, ConnectError, OptionError
 */
export async function preparing(
  engine: Engine,
  models: Readonly<Record<string, unknown>>,
  options: PrepareOptions,
): Promise<PreparedModels> {
  const { prepareModels } = await preparation()
  return seen(
    channels.prepare,
    () => ({ ...engine.seenAs }),
    () => prepareModels(asTarget(engine), models, options),
    ({ created }, context) => {
      context.created = created.length
    },
  )
}

const preparation = importOnce(() => import('../schema/prepare.ts'))

/** An engine's dialect decides the type of its `db`, which the compiler cannot see in a union. */
function asTarget(engine: Engine): PrepareTarget {
  return engine as Engine & PrepareTarget
}
