import { PyTimeDelta } from './time-delta.ts'
import { PyDate, PyDateTime, PyTime } from './times.ts'
import { PyDecimal, PyException, PyObject, PyTuple } from './values.ts'
import { PyTimeZone } from './zones.ts'

/**
 * Whether an object of one of our classes is as its constructor would make it; true for all others.
 * `Object.create(PyDate.prototype)` is not, nor need one be that was changed.
 */
export function isFit(value: object): boolean {
  if (value instanceof PyDateTime) return isConstructible(PyDateTime, value) && isZoned(value)
  if (value instanceof PyTime) return isConstructible(PyTime, value) && isZoned(value)
  if (value instanceof PyDate) return isConstructible(PyDate, value)
  if (value instanceof PyTimeDelta) return isWhole(value)
  if (value instanceof PyTimeZone) return isZone(value)
  if (value instanceof PyDecimal) return typeof value.text === 'string' && PyDecimal.isDecimal(value.text)
  if (value instanceof PyException) return isName(value.module, value.type) && isTuple(value.args)
  return value instanceof PyObject ? isObject(value) : true
}

function isConstructible<Fields>(cls: new (fields: Fields) => unknown, fields: Fields): boolean {
  try {
    new cls(fields)
    return true
  } catch (error) {
    if (error instanceof RangeError) return false
    throw error
  }
}

/** Never left out, as the constructors allow. */
function isZoned({ tzinfo, fold }: PyDateTime | PyTime): boolean {
  const isZoneInfo = tzinfo === null || tzinfo instanceof PyTimeZone || tzinfo instanceof PyObject
  return isZoneInfo && (fold === 0 || fold === 1)
}

function isWhole({ days, seconds, microseconds }: PyTimeDelta): boolean {
  return [days, seconds, microseconds].every(Number.isSafeInteger)
}

function isZone({ offset, name, origin }: PyTimeZone): boolean {
  if (origin !== null) return origin instanceof PyObject
  if (offset === null) return typeof name === 'string'
  return offset instanceof PyTimeDelta && (name === null || typeof name === 'string')
}

function isObject({
  kind,
  module,
  name,
  callee,
  args,
  listItems,
  dictItems,
  stateSetter,
}: PyObject): boolean {
  const isKind = kind === 'global' || kind === 'call' || kind === 'new'
  const isMade = [callee, stateSetter].every((object) => object === null || object instanceof PyObject)
  const hasItems =
    (listItems === null || Array.isArray(listItems)) && (dictItems === null || dictItems instanceof Map)
  return isKind && isName(module, name) && isTuple(args) && isMade && hasItems
}

function isName(module: unknown, name: unknown): boolean {
  return typeof module === 'string' && typeof name === 'string'
}

function isTuple(args: unknown): boolean {
  return args instanceof PyTuple && Array.isArray(args)
}
