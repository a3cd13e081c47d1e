import type { Dialect } from '../dburi/types.ts'
import type { Engine } from '../engine/engine.ts'
import type { PingOptions } from '../engine/ping.ts'
import { DrizzleCeleryError, toError } from '../errors.ts'

/** Whether the databases of a manager answer; safe to print and to serialise. */
export interface Health {
  /** All of them answered; false, too, once the manager is disposed of. */
  readonly isHealthy: boolean
  /** The engines that are open, each with its own answer. */
  readonly engines: readonly EngineHealth[]
}

/** Whether one database answered. */
export interface EngineHealth {
  /** The dburi without its password and other secrets. */
  readonly dburi: string
  readonly dialect: Dialect
  readonly isHealthy: boolean
  /** Until the answer or the failure, the wait for a connection included. */
  readonly milliseconds: number
  /** Why there was no answer; `null` when there was one. */
  readonly error: { readonly code: string; readonly message: string } | null
}

/** Pings engines, all at once. It never rejects. */
export async function healthOf(engines: readonly Engine[], options: PingOptions): Promise<Health> {
  const answers = await Promise.all(engines.map((engine) => answerOf(engine, options)))
  return { isHealthy: answers.every(({ isHealthy }) => isHealthy), engines: answers }
}

async function answerOf(engine: Engine, options: PingOptions): Promise<EngineHealth> {
  const { dburi, dialect } = engine.stats()
  const startedAt = performance.now()
  const error = await engine.ping(options).then(() => null, reasonOf)
  const milliseconds = Math.round(performance.now() - startedAt)
  return { dburi, dialect, isHealthy: error === null, milliseconds, error }
}

function reasonOf(error: unknown): { code: string; message: string } {
  const { message } = toError(error)
  return { code: error instanceof DrizzleCeleryError ? error.code : 'UNKNOWN', message }
}
