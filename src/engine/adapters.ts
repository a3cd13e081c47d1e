import { SCHEMES } from '../dburi/schemes.ts'
import type { Dburi, DburiScheme, RegisteredSchemes } from '../dburi/types.ts'
import type { NamedAdapter } from '../driver/types.ts'
import { DburiError, type OptionError } from '../errors.ts'
import { isObject } from '../options/check.ts'
import { invalid } from '../options/values.ts'

/** The schemes of adapters whose drivers have none of their own: the names of these drivers. */
export function schemesOf(adapters: readonly NamedAdapter[]): RegisteredSchemes {
  const schemes: Record<string, DburiScheme> = Object.create(null)
  for (const { driver, dialect } of adapters)
    if (!isKnownDriver(driver)) schemes[driver] = { driver, dialect }
  return schemes
}

/**
 * The one of these adapters that opens a parsed dburi.
 * @throws DburiError `UNSUPPORTED_DIALECT` when there is none
 */
export function adapterOf(adapters: readonly NamedAdapter[], { driver, dialect }: Dburi): NamedAdapter {
  const found = adapters.find((adapter) => adapter.driver === driver)
  if (found !== undefined) return found
  const isHere = (name: string) => adapters.some((adapter) => adapter.driver === name)
  const schemes = Object.entries(SCHEMES).flatMap(([name, row]) => (isHere(row.driver) ? [name] : []))
  throw new DburiError(
    'UNSUPPORTED_DIALECT',
    'scheme',
    `Cannot open a ${dialect} database by the driver "${driver}": it has no adapter among those that this manager was given. ` +
      `Add one to them, or write a scheme that they open: ${[...schemes, ...Object.keys(schemesOf(adapters))].join(', ')}.`,
  )
}

/** Whether a name may be the scheme of an adapter. */
export function isSchemeName(name: string): boolean {
  return /^[a-z][a-z0-9.-]*$/.test(name)
}

/** Whether a name is a driver's that this package has an adapter for. */
export function isKnownDriver(name: string): boolean {
  return Object.values(SCHEMES).some(({ driver }) => driver === name)
}

/** Whether a scheme has a meaning without any adapter of the program's own. */
export function isKnownScheme(name: string): boolean {
  return Object.hasOwn(SCHEMES, name)
}

export const A_LIST_OF_ADAPTERS =
  'a list of adapters, as in [postgresJs] from drizzle-celery/adapters/postgres-js'

/** What is wrong with the `adapters` of a manager. */
export function adapterFaults(name: string, adapters: unknown): readonly OptionError[] {
  if (!Array.isArray(adapters) || adapters.length === 0 || !adapters.every(isAdapter)) {
    return [invalid(name, A_LIST_OF_ADAPTERS)]
  }
  const drivers = adapters.map(({ driver }) => driver)
  if (new Set(drivers).size < drivers.length)
    return [invalid(name, 'a list with one adapter for each driver')]
  const isNamed = (driver: string) =>
    isKnownDriver(driver) || (isSchemeName(driver) && !isKnownScheme(driver))
  return drivers.every(isNamed)
    ? []
    : [
        invalid(
          name,
          'a list of adapters whose driver is a word in lower case, and no scheme of this package',
        ),
      ]
}

function isAdapter(value: unknown): value is NamedAdapter {
  return isObject(value) && 'open' in value && 'driver' in value && typeof value.driver === 'string'
}
