export { OptionError, PickleError, type PickleErrorCode, type PicklePlace } from './errors.ts'
export { decode } from './pickle/decode.ts'
export { type EncodeOptions, encode } from './pickle/encode.ts'
export type { DecodeOptions } from './pickle/limits.ts'
export { PyTimeDelta, type PyTimeDeltaFields } from './pickle/time-delta.ts'
export {
  PyDate,
  type PyDateFields,
  PyDateTime,
  PyTime,
  type PyTimeFields,
  type TimeZoneInfo,
} from './pickle/times.ts'
export {
  PyDecimal,
  PyException,
  PyObject,
  type PyObjectFields,
  type PyObjectKind,
  PyTuple,
} from './pickle/values.ts'
export { PyTimeZone } from './pickle/zones.ts'
