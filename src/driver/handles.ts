import type { DrizzleConfig } from './drizzle.ts'
import { loadQuicken } from './quick-dialect.ts'

/** What Drizzle's handles for one driver are made of. */
export interface HandleParts {
  /** `drizzle-orm/<dialect>-core`. */
  readonly core: object
  /** In it, the class of the dialect. */
  readonly dialect: string
  /** In it, the class of databases: the name that 1.0 has for it, and that of 0.45. */
  readonly database: readonly [string, string]
  /** Drizzle's name for handles of the driver. */
  readonly kind: string
  /** Drizzle's session for the driver. */
  readonly session: Constructor
  /** How values come from the driver, which only 1.0 is told; given `core`, by `strictly`. */
  codecs(core: object): unknown
}

type Constructor = new (...parts: never[]) => object

/**
 * Makes what the factory in `drizzle-orm/<driver>` does, of parts that import no driver: that module imports its driver
 * statically, so that no program could be bundled that has another one installed.
 * @returns a factory of handles over what Drizzle takes for the driver's client
 */
export async function handleFactory(
  parts: HandleParts,
): Promise<(client: object, config: DrizzleConfig) => object> {
  const { entityKind } = await import('drizzle-orm/entity')
  const relational = await import('drizzle-orm/relations')
  const quicken = await loadQuicken()
  const { core, database, kind, session: Session } = parts
  const codecs = database[0] in core ? parts.codecs(strictly(core)) : undefined
  const Dialect = classIn(core, parts.dialect)
  const Database = class extends classIn(core, ...database) {
    static [entityKind] = kind
  }

  return (client, config) => {
    const dialect = quicken(make(Dialect, { casing: config.casing, codecs }))
    const known = knownBy(relational, config)
    const session = make(Session, client, dialect, known, config)
    const db = make(Database, dialect, session, known, config.mode)
    const { cache } = config
    if (cache !== undefined) Object.assign(db, { $cache: invalidatable(cache) })
    return db
  }
}

/** The `$cache` of a handle, by which programs invalidate it themselves. */
function invalidatable(cache: NonNullable<DrizzleConfig['cache']>): object {
  const invalidate: typeof cache.onMutate = (mutation) => cache.onMutate(mutation)
  return Object.create(cache, { invalidate: { value: invalidate } })
}

/** What relational queries know: under 0.45 it is read from the schema, under 1.0 these are the relations. */
function knownBy(relational: object, { schema, relations = {} }: DrizzleConfig): unknown {
  const read: unknown = Reflect.get(relational, 'extractTablesRelationalConfig')
  if (typeof read !== 'function') return relations
  if (schema === undefined) return undefined
  const { tables, tableNamesMap } = read(schema, Reflect.get(relational, 'createTableRelationsHelpers'))
  return { fullSchema: schema, schema: tables, tableNamesMap }
}

/**
 * A module of Drizzle whose missing names throw: with `undefined` in their place, another version of Drizzle would give
 * other values in silence.
 */
export function strictly<Module extends object>(module: Module): Module {
  return new Proxy(module, {
    get(target, name) {
      const found: unknown = Reflect.get(target, name)
      if (found === undefined) throw new Error(`This version of drizzle-orm has no ${String(name)}`)
      return found
    },
  })
}

/** The first of several names that a module of Drizzle has. */
function classIn(core: object, ...names: readonly string[]): Constructor {
  for (const name of names) {
    const found: unknown = Reflect.get(core, name)
    if (typeof found === 'function') return found as Constructor
  }
  throw new Error(`This version of drizzle-orm has no ${names.join(' or ')}`)
}

/** The types of these classes differ between Drizzle's majors. */
function make(Made: Constructor, ...parts: readonly unknown[]): object {
  return new Made(...(parts as never[]))
}
