import { OptionError } from '../errors.ts'
import { classesOf, type PyClasses } from './classes.ts'
import { Encoder } from './encoder.ts'
import { checkLimit } from './limits.ts'

/** How a value is written as a pickle. */
export interface EncodeOptions {
  /** The pickle protocol, 0 to 5. Python 2 reads up to 2, Python 3.4 up to 4. @default 5 */
  readonly protocol?: number | undefined
  /** Containers within containers. Far beyond the default the call stack may not suffice. @default 1_000 */
  readonly maxDepth?: number | undefined
  /** Bytes of the pickle. @default 67_108_864 (64 MiB), as `decode` reads */
  readonly maxBytes?: number | undefined
  /** Classes of the program that are written as classes of Python: those that have a `write`. @default {} */
  readonly classes?: PyClasses | undefined
}

/**
 * Writes a value as a Python pickle.
 *
 * | here | Python |
 * |---|---|
 * | `null`, boolean, string | `None`, `bool`, `str`; lone surrogates are kept |
 * | `undefined` | left out as a property, like JSON; anywhere else `None` |
 * | number | `int` when it is a safe integer, else `float`; also `-0` is a `float` |
 * | bigint | `int` |
 * | Uint8Array, Buffer | `bytes` |
 * | Array; PyTuple | `list`; `tuple` |
 * | Set | `set`; within a key or another Set `frozenset` |
 * | Map, plain object | `dict` |
 * | Date | `datetime` in UTC |
 * | the Py classes | what they stand for |
 *
 * A whole float is therefore written as an `int`: `1.0` that was read becomes `1`, which is equal in Python. A `bytearray`
 * that was read is written as `bytes`, a subclass of `dict` as `dict`, a UUID as its text. `fold` is left out below protocol
 * 4. A number with more than 4,300 digits in protocols 0 and 1, which write it in decimal, is refused by Python's readers
 * since 3.11. Keys that are not primitive and equal in Python, such as two tuples of the same items, become one there.
 *
 * Arrays, objects and all else with an identity are written once and referred to from then on, cycles included; strings
 * too, by their text. For `None`, `bool`, `int`, `float`, `str`, `bytes`, `list`, `tuple` and `dict` the bytes are those
 * of CPython's `pickle.dumps`, provided that it shares equal strings too, as it does with literals.
 *
 * @throws PickleError `PICKLE_UNENCODABLE` with the path to a function, a symbol, an instance of an unknown class, a Proxy
 * of anything but an array or a plain object, an invalid Date, a key that Python cannot hash, or a Map or Set with keys
 * that are one in Python, such as `1`, `true` and `1n`; `PICKLE_LIMIT` beyond `maxDepth` or `maxBytes`
 * @throws PickleError `PICKLE_CLASS` when a function of `classes` throws
 * @throws OptionError for a protocol that there is not
 */
export function encode(value: unknown, options: EncodeOptions = {}): Uint8Array {
  const { protocol = 5, maxDepth = 1_000, maxBytes = 67_108_864, classes, ...others } = options
  for (const name of Object.keys(others)) {
    throw new OptionError('UNKNOWN_OPTION', name, `Unknown option "${name}" of encode`)
  }
  if (!Number.isInteger(protocol) || protocol < 0 || protocol > 5) {
    throw new OptionError(
      'INVALID_OPTION',
      'protocol',
      'The option "protocol" must be a whole number from 0 to 5',
    )
  }
  const encoder = new Encoder({
    protocol,
    maxDepth: checkLimit('maxDepth', maxDepth),
    maxBytes: checkLimit('maxBytes', maxBytes),
    classes: classesOf(classes),
  })
  return encoder.encode(value)
}
