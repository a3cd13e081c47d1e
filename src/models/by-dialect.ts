import type { Dialect } from '../dburi/types.ts'
import { importOnce } from '../driver/load.ts'
import type { ResultModelsOptions } from './names.ts'

/** Celery's tables of each dialect. The part of Drizzle that they are made of is loaded with them. */
const DIALECTS = {
  postgresql: importOnce(() => import('./postgresql.ts')),
  mysql: importOnce(() => import('./mysql.ts')),
  sqlite: importOnce(() => import('./sqlite.ts')),
} satisfies Record<Dialect, unknown>

/** Celery's tables of a dialect; SQLite has no schemas. */
export async function resultModelsOf(
  dialect: Dialect,
  options?: ResultModelsOptions,
): Promise<Readonly<Record<string, unknown>>> {
  const { resultModels } = await DIALECTS[dialect]()
  return resultModels(options)
}
