export { OptionError, PickleError, type PickleErrorCode, type PicklePlace } from '../errors.ts'
export { decode } from './decode.ts'
export { type EncodeOptions, encode } from './encode.ts'
export type { DecodeOptions } from './limits.ts'
export {
  PyDate,
  type PyDateFields,
  PyDateTime,
  PyTime,
  type PyTimeFields,
  type TimeZoneInfo,
} from './times.ts'
export {
  PyDecimal,
  PyException,
  PyObject,
  type PyObjectFields,
  type PyObjectKind,
  PyTuple,
} from './values.ts'
export { PyTimeDelta, type PyTimeDeltaFields, PyTimeZone } from './zones.ts'
