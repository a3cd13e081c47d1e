import { DrizzleCeleryError } from '../errors.ts'

/** Why a database could not be brought up to the models. */
export type SchemaErrorCode =
  | 'SCHEMA_UNSUPPORTED'
  | 'SCHEMA_INVALID_NAME'
  | 'SCHEMA_NAME_TAKEN'
  | 'SCHEMA_MISSING_SCHEMA'
  | 'SCHEMA_PERMISSION'
  | 'SCHEMA_READ_ONLY'
  | 'SCHEMA_LOCK_TIMEOUT'
  | 'SCHEMA_CONFLICT'
  | 'SCHEMA_REFUSED'
  | 'SCHEMA_DIFFERENCE'
  | 'SCHEMA_MIGRATIONS'

/**
 * The models cannot be prepared; nothing was created, except on MySQL, where DDL cannot be rolled back; the message then lists what was. `SCHEMA_LOCK_TIMEOUT` and `SCHEMA_CONFLICT` (others kept
 * creating the same things at the same time) may pass by themselves, the rest want a change.
 */
export class SchemaError extends DrizzleCeleryError<SchemaErrorCode> {
  static override readonly name: string = 'SchemaError'

  /** The DDL of what is missing, to be run by somebody with the rights. Empty when nothing was looked up yet. */
  readonly statements: readonly string[]
  /** What would let this role run it itself. */
  readonly grant?: string

  constructor(
    code: SchemaErrorCode,
    message: string,
    options: ErrorOptions & { readonly statements?: readonly string[]; readonly grant?: string } = {},
  ) {
    super(code, message, options)
    this.statements = options.statements ?? []
    if (options.grant !== undefined) this.grant = options.grant
  }
}
