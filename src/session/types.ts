import type { Dialect } from '../dburi/types.ts'
import type { HandleWith } from '../driver/dialect.ts'
import type { NamedAdapter } from '../driver/types.ts'
import type { Engine } from '../engine/engine.ts'
import type { DriverFor, Openers, Opens, UnknownScheme } from '../engine/registry.ts'
import type { Session } from './session.ts'

// How a manager's models and adapters, and a dburi, decide what comes of it. What a query costs the compiler is held by
// scripts/check-installed/types.ts.

/** The tables of each dialect, as they are exported for drizzle-kit. */
export type ModelsByDialect = { readonly [D in Dialect]?: Readonly<Record<string, unknown>> }

/** Celery's result tables. */
export interface ResultModelsByDialect extends ModelsByDialect {
  readonly postgresql: import('../models/postgresql.ts').ResultModels
  readonly mysql: import('../models/mysql.ts').ResultModels
  readonly sqlite: import('../models/sqlite.ts').ResultModels
}

/** A dburi as it is given: as a text, or as a `URL` that is not a `file:` one. */
export type DburiInput = string | URL

/** The drivers of the adapters that a manager was given; none for any adapters. */
type DriversOf<Known extends NamedAdapter> = string extends Known['driver'] ? never : Known['driver']

/**
 * What a dburi is opened by: its driver, if it is a literal; otherwise one of the adapters that the manager was given,
 * whose dialect it has models of, and with none given that dialect.
 */
type OpenerFor<Input extends DburiInput, Models, Known extends NamedAdapter> = DriverFor<
  Input extends string ? Input : string,
  [DriversOf<Known>] extends [never] ? keyof Models & Dialect : DriverOfDialects<Known, keyof Models>,
  DriversOf<Known>
>

type DriverOfDialects<Known extends NamedAdapter, Dialects> = Known extends { readonly dialect: Dialects }
  ? Known['driver']
  : never

/** What an opener opens; the drivers of this package are known by their names. */
type OpensBy<Opener, Known> = Opener extends keyof Openers
  ? Openers[Opener]
  : Known extends NamedAdapter<infer Driver, infer D, infer Db>
    ? Opener extends Driver
      ? Opens<D, Db>
      : never
    : never

/** The type of a literal dburi in the compiler's error, when the manager has no models of its dialect. */
interface NoModels<D extends Dialect> {
  readonly noModels: D
}

/** The same, when the manager was given adapters, and none for its driver. */
interface NoAdapter<Driver> {
  readonly noAdapter: Driver
}

type RefusalOf<Opener, Models, Known extends NamedAdapter> =
  Opener extends UnknownScheme<string>
    ? Opener
    : [DriversOf<Known>] extends [never]
      ? ModelsRefusal<OpensBy<Opener, Known>, Models>
      : Opener extends Known['driver']
        ? ModelsRefusal<OpensBy<Opener, Known>, Models>
        : NoAdapter<Opener>

type ModelsRefusal<Opened, Models> =
  Opened extends Opens<Dialect, unknown>
    ? Opened['dialect'] extends keyof Models
      ? never
      : NoModels<Opened['dialect']>
    : never

/** A dburi as a parameter: a literal that cannot be opened is an error there. */
export type Opened<Input extends DburiInput, Models, Known extends NamedAdapter> = [
  RefusalOf<OpenerFor<Input, Models, Known>, Models, Known>,
] extends [never]
  ? Input
  : RefusalOf<OpenerFor<Input, Models, Known>, Models, Known>

/** Celery's tables have no relations: their handle stays Drizzle's own. */
type HandleOf<Opener, Opened extends Opens<Dialect, unknown>, Models extends ModelsByDialect> = HandleWith<
  ResultModelsByDialect extends Models ? never : Models[Opened['dialect']],
  Opener,
  Opened['db']
>

type EngineOf<Opener, Opened, Models extends ModelsByDialect> =
  Opened extends Opens<Dialect, unknown> ? Engine<Opened['dialect'], HandleOf<Opener, Opened, Models>> : never

type SessionOf<Opener, Opened, Models extends ModelsByDialect> =
  Opened extends Opens<Dialect, unknown>
    ? Session<Opened['dialect'], HandleOf<Opener, Opened, Models>, NonNullable<Models[Opened['dialect']]>>
    : never

type EngineBy<Opener, Models extends ModelsByDialect, Known> = Opener extends unknown
  ? EngineOf<Opener, OpensBy<Opener, Known>, Models>
  : never

type SessionBy<Opener, Models extends ModelsByDialect, Known> = Opener extends unknown
  ? SessionOf<Opener, OpensBy<Opener, Known>, Models>
  : never

/**
 * The engine of a dburi: exact for a literal; for a `string` or `URL` that of the adapter the manager was given (`Known`),
 * or of the dialect there are models of; a union that `switch (engine.dialect)` narrows where there are several.
 */
export type EngineFor<
  Text extends DburiInput,
  Models extends ModelsByDialect = ResultModelsByDialect,
  Known extends NamedAdapter = NamedAdapter,
> = EngineBy<OpenerFor<Text, Models, Known>, Models, Known>

/** The session of a dburi, with the models of its dialect. */
export type SessionFor<
  Text extends DburiInput,
  Models extends ModelsByDialect = ResultModelsByDialect,
  Known extends NamedAdapter = NamedAdapter,
> = SessionBy<OpenerFor<Text, Models, Known>, Models, Known>

/** A piece of work in a session of its own. */
export type Work<
  Text extends DburiInput,
  Models extends ModelsByDialect,
  Known extends NamedAdapter,
  Result,
> = (
  db: SessionFor<Text, Models, Known>['db'],
  session: SessionFor<Text, Models, Known>,
  /** 1, and one more each time a conflict undid the work; see `attempts`. */
  attempt: number,
) => Promise<Result>
