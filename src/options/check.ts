import { OptionError } from '../errors.ts'
import { LONGEST_TIMEOUT } from './pool.ts'
import { invalid, together, unknown } from './values.ts'

/** Says what is wrong with the value of an option: an error for each fault. */
export type Check = (name: string, value: unknown) => readonly OptionError[]

/** What each option of an object must be. */
export type Checks<Options> = { readonly [Name in keyof Required<Options>]: Check }

/**
 * Checks all options of an object, of whatever class. What is `undefined` counts as left out.
 * @param of what takes the options
 * @throws OptionError listing everything wrong with them; it never repeats a value
 */
export function checkOptions<Options>(of: string, options: unknown, checks: Checks<Options>): void {
  if (options === undefined) return
  if (!isObject(options)) {
    throw new OptionError('INVALID_OPTION', 'options', `The options of ${of} must be an object`)
  }
  const errors = faultsIn('', options, checks)
  if (errors.length > 0) throw together(errors)
}

/** An option that is an object of options. */
export function optionsLike<Options>(checks: Checks<Options>): Check {
  return (name, value) =>
    isObject(value) ? faultsIn(`${name}.`, value, checks) : [invalid(name, 'an object')]
}

/**
 * Reads options with a reader that throws at the first fault, and reports all of them.
 * @throws OptionError, and what the reader throws besides
 */
export function readOptions<Options extends object, Result>(
  options: Options,
  read: (options: Options) => Result,
): Result {
  try {
    return read(options)
  } catch (error) {
    throw withOthers(error, options, read)
  }
}

function withOthers<Options extends object>(
  first: unknown,
  options: Options,
  read: (options: Options) => unknown,
): unknown {
  const faults: OptionError[] = []
  const left = { ...options }
  for (let error = first; error instanceof OptionError; ) {
    faults.push(error)
    const { option } = error
    const name = Object.keys(left).find((own) => own === option || option.startsWith(`${own}.`))
    if (name === undefined) break
    Reflect.deleteProperty(left, name)
    try {
      read(left)
      break
    } catch (next) {
      error = next
    }
  }
  return faults.length === 0 ? first : together(faults)
}

function faultsIn(prefix: string, options: object, checks: Readonly<Record<string, Check>>): OptionError[] {
  const names = Object.keys(checks)
  const strange = Object.entries(options)
    .filter(([name, value]) => value !== undefined && !Object.hasOwn(checks, name))
    .map(([name]) =>
      unknown(
        prefix + name,
        names.map((known) => prefix + known),
      ),
    )
  const wrong = names.flatMap((name) => {
    const value: unknown = Reflect.get(options, name)
    return value === undefined ? [] : (checks[name]?.(prefix + name, value) ?? [])
  })
  return [...strange, ...wrong]
}

export function check(isValid: (value: unknown) => boolean, wanted: string): Check {
  return (name, value) => (isValid(value) ? [] : [invalid(name, wanted)])
}

export function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

export function oneOf(...words: readonly string[]): Check {
  return check((value) => words.some((word) => word === value), `one of ${words.join(', ')}`)
}

export const aFlag = check((value) => typeof value === 'boolean', 'true or false')

export const aFunction = check((value) => typeof value === 'function', 'a function')

export const aText = check((value) => typeof value === 'string' && value !== '', 'a text that is not empty')

/** Drizzle takes true for a logger of its own. */
export function isLogger(value: unknown): boolean {
  return typeof value === 'boolean' || (isObject(value) && 'logQuery' in value)
}

export const aLogger = check(isLogger, 'an object with logQuery(query, params)')

export const aSignal = check(
  (value) => isObject(value) && 'aborted' in value && 'addEventListener' in value,
  'an AbortSignal',
)

export const aDeadline = check(
  (value) => typeof value === 'number' && value > 0 && value <= LONGEST_TIMEOUT,
  `a number of seconds above 0, up to ${LONGEST_TIMEOUT}; leave it out for none`,
)
