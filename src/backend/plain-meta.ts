import { toError } from '../errors.ts'
import { taskErrorOf } from './column.ts'
import { type PlainJson, toPlainJson } from './plain-json.ts'
import { EXCEPTION_STATES, type PlainTaskMeta, type StoredTask, type TaskMeta } from './types.ts'

/** The properties of a meta that are decoded, and may throw. */
const DECODED = ['result', 'args', 'kwargs', 'children', 'stamps'] as const

/** Gives a meta its `toJSON`, which shows neither in `Object.keys` nor to `util.inspect` and `structuredClone`. */
export function withToJson(meta: StoredTask): TaskMeta {
  const whole = Object.defineProperty(meta, 'toJSON', { value: toJSON, enumerable: false })
  // It has just been given what it lacked.
  return whole as TaskMeta
}

/** What cannot be read is `null` there, and `unreadable` says why. */
function toJSON(this: TaskMeta): PlainTaskMeta {
  const { status, dateDone } = this
  const plain = new Map<string, PlainJson>()
  const unreadable = new Map<string, string>()
  for (const property of DECODED) {
    if (!Object.hasOwn(this, property)) continue
    try {
      const isException = property === 'result' && EXCEPTION_STATES.has(status) && this.result !== null
      plain.set(property, isException ? plainException(this) : toPlainJson(this[property]))
    } catch (error) {
      plain.set(property, null)
      unreadable.set(property, toError(error).message)
    }
  }
  const isDated = dateDone !== null && !Number.isNaN(dateDone.getTime())
  const meta = {
    ...this,
    ...Object.fromEntries(plain),
    dateDone: isDated ? dateDone.toISOString() : null,
    ...(unreadable.size > 0 && { unreadable: Object.fromEntries(unreadable) }),
  }
  // What is decoded has just been replaced, property by property.
  return meta as PlainTaskMeta
}

function plainException(meta: StoredTask): PlainJson {
  const { excType, excModule, excMessage } = taskErrorOf(meta)
  return { excType, excModule, excMessage: toPlainJson(excMessage) }
}
