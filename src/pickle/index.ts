export { OptionError, PickleError, type PickleErrorCode, type PicklePlace } from '../errors.ts'
export type { PyClass, PyClasses } from './classes.ts'
export { decode } from './decode.ts'
export { type EncodeOptions, encode } from './encode.ts'
export type { DecodeOptions } from './limits.ts'
export { numpyClasses, pandasClasses } from './numpy.ts'
export {
  dataclass,
  enumOf,
  type FieldsClass,
  type FieldsOptions,
  namedtuple,
  pydantic,
  standardClasses,
} from './ready-classes.ts'
export {
  PyDate,
  type PyDateFields,
  PyDateTime,
  PyTime,
  type PyTimeFields,
  type TimeZoneInfo,
} from './times.ts'
export {
  PyComplex,
  PyDecimal,
  PyException,
  PyFraction,
  PyObject,
  type PyObjectFields,
  type PyObjectKind,
  PyTuple,
} from './values.ts'
export { PyTimeDelta, type PyTimeDeltaFields, PyTimeZone } from './zones.ts'
