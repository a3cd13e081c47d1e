import { encode } from '../pickle/encode.ts'
import { readJson } from './json-reader.ts'
import { writeJson } from './json-writer.ts'
import { readPickle } from './read-pickle.ts'

/** How values become the bytes of a column, and back: what kombu calls a serializer. */
export interface Serializer {
  /** As in Celery's `result_serializer`: `json`, `pickle`, `msgpack`, … */
  readonly name: string
  /** `application/json`, … */
  readonly contentType: string
  /** Throws for a value that it cannot write. */
  encode(value: unknown): Uint8Array
  /** Throws for bytes that it did not write; the error's text is never shown. */
  decode(bytes: Uint8Array): unknown
}

/** kombu's JSON, to the byte. For what it can write see {@link writeJson}, for what it reads {@link readJson}. */
export const jsonSerializer: Serializer = {
  name: 'json',
  contentType: 'application/json',
  encode: (value) => new TextEncoder().encode(writeJson(value)),
  decode: readJson,
}

/** Pickles of protocol 4, as kombu writes them. Reading one runs nothing: see `drizzle-celery/pickle`. */
export const pickleSerializer: Serializer = {
  name: 'pickle',
  contentType: 'application/x-python-serialize',
  encode: (value) => encode(value, { protocol: 4 }),
  decode: (bytes) => readPickle(bytes),
}

/** The serializer of a name, or the one that was given. */
export function serializerOf(given: 'json' | 'pickle' | Serializer): Serializer {
  if (given === 'json') return jsonSerializer
  return given === 'pickle' ? pickleSerializer : given
}
