import { formatPath, type Step } from '../pickle/values.ts'
import { BackendError } from './errors.ts'

/**
 * What zod, valibot, arktype and others have in common: the part of the
 * {@link https://standardschema.dev | Standard Schema} that checks a value.
 */
export interface StandardSchema<Output = unknown> {
  readonly '~standard': {
    readonly version: 1
    readonly vendor: string
    /** Checks a value. */
    readonly validate: (value: unknown) => SchemaOutcome<Output> | Promise<SchemaOutcome<Output>>
    readonly types?: { readonly input: unknown; readonly output: Output } | undefined
  }
}

/** What a schema says of a value: the value that it makes of it, or what is wrong. */
export type SchemaOutcome<Output> =
  | { readonly value: Output; readonly issues?: undefined }
  | { readonly issues: readonly SchemaIssue[] }

/** What a schema finds wrong. */
export interface SchemaIssue {
  readonly message: string
  readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined
}

/**
 * The result of a task as a schema makes it.
 * @throws BackendError `RESULT_INVALID` with the path to what does not fit. What the schema says of it is left out, since it
 * may repeat the value
 */
export async function parseResult<Output>(
  taskId: string,
  value: unknown,
  schema: StandardSchema<Output>,
): Promise<Output> {
  const outcome = await schema['~standard'].validate(value)
  if (outcome.issues === undefined) return outcome.value
  const [path = '$', ...others] = [...new Set(outcome.issues.map((issue) => pathOf(issue)))]
  const more = others.length === 0 ? '' : ` and in ${others.length} more places`
  throw new BackendError(
    'RESULT_INVALID',
    `The result of task ${JSON.stringify(taskId)} is not what "parse" asks for, at ${path}${more}. ` +
      'Its worker returned something else: see what the task returns, or change the schema.',
    { path },
  )
}

function pathOf({ path = [] }: SchemaIssue): string {
  return formatPath(path.map((segment) => stepOf(typeof segment === 'object' ? segment.key : segment)))
}

function stepOf(key: PropertyKey): Step {
  return typeof key === 'symbol' ? String(key) : key
}

export function isStandardSchema(value: unknown): value is StandardSchema {
  // An arktype is a function.
  const isThing = (typeof value === 'object' && value !== null) || typeof value === 'function'
  if (!isThing) return false
  const standard: unknown = Reflect.get(value, '~standard')
  return (
    typeof standard === 'object' &&
    standard !== null &&
    typeof Reflect.get(standard, 'validate') === 'function'
  )
}
