import { decode } from '../pickle/decode.ts'
import type { DecodeOptions } from '../pickle/limits.ts'
import { childrenOf } from '../pickle/measure.ts'
import { PyObject } from '../pickle/values.ts'

/**
 * Reads a pickle that Celery wrote, its backends emptied: it pickles an AsyncResult and a group together with their
 * backend, and that as the database URL, password included, and the options of its engine. Nobody here needs them.
 *
 * @throws PickleError
 */
export function readPickle(bytes: Uint8Array, options?: DecodeOptions): unknown {
  const value = decode(bytes, options)
  if (mentionsBackend(bytes)) emptyBackends(value)
  return value
}

function emptyBackends(value: unknown): void {
  const seen = new Set<object>()
  const left: unknown[] = [value]
  while (left.length > 0) {
    const next = left.pop()
    if (typeof next !== 'object' || next === null || seen.has(next)) continue
    seen.add(next)
    if (isBackend(next)) empty(next)
    for (const child of childrenOf(next)) left.push(child)
  }
}

const MAKER = 'unpickle_backend'

function mentionsBackend(pickle: Uint8Array): boolean {
  return Buffer.from(pickle.buffer, pickle.byteOffset, pickle.length).includes(MAKER)
}

function isBackend(value: object): value is PyObject {
  return value instanceof PyObject && value.kind === 'call' && value.name === MAKER
}

function empty(backend: PyObject): void {
  backend.args.length = 0
  backend.state = null
}
