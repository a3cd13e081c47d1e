import { invalid } from '../options/values.ts'
import { type Serializer, serializerOf } from './column.ts'

/** What the npm package `yaml` exports, or another one with the same two functions. */
export interface YamlFunctions {
  /** Reads a text. */
  parse(text: string): unknown
  /** Writes a value. */
  stringify(value: unknown): string
}

/** What the npm package `@msgpack/msgpack` exports, or another one with the same two functions. */
export interface MsgpackFunctions {
  /** Writes a value. */
  encode(value: unknown): Uint8Array
  /** Reads what was written. */
  decode(bytes: Uint8Array): unknown
}

/** The packages of the serializers that kombu knows beside JSON and pickle: `import * as yaml from 'yaml'`. */
export interface SerializerPackages {
  readonly yaml?: YamlFunctions | undefined
  readonly msgpack?: MsgpackFunctions | undefined
}

/** kombu's names for serializers. */
export type SerializerName = 'json' | 'pickle' | 'yaml' | 'msgpack'

/**
 * @param name of the option
 * @throws OptionError, for a serializer without its package too
 */
export function toSerializer(
  name: string,
  value: unknown,
  { yaml, msgpack }: SerializerPackages,
): Serializer {
  if (value === 'json' || value === 'pickle') return serializerOf(value)
  if (value === 'yaml' && yaml !== undefined) return yamlSerializer(yaml)
  if (value === 'msgpack' && msgpack !== undefined) return msgpackSerializer(msgpack)
  if (isSerializer(value)) return value
  throw invalid(
    name,
    "'json', 'pickle', 'yaml' or 'msgpack' with their package in the option \"serializers\", or for any other an object " +
      'with name, contentType, encode and decode',
  )
}

/** @throws OptionError */
export function toSerializerPackages(name: string, value: unknown): SerializerPackages {
  if (!hasFunctions(value, [])) throw invalid(name, 'an object with yaml or msgpack')
  const { yaml, msgpack } = value as SerializerPackages
  if (yaml !== undefined && !hasFunctions(yaml, ['parse', 'stringify']))
    throw invalid(`${name}.yaml`, 'an object with parse and stringify, such as the package yaml')
  if (msgpack !== undefined && !hasFunctions(msgpack, ['encode', 'decode']))
    throw invalid(`${name}.msgpack`, 'an object with encode and decode, such as the package @msgpack/msgpack')
  return { yaml, msgpack }
}

function yamlSerializer({ parse, stringify }: YamlFunctions): Serializer {
  return {
    name: 'yaml',
    contentType: 'application/x-yaml',
    encode: (value) => new TextEncoder().encode(stringify(value)),
    decode: (bytes) => parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes)),
  }
}

function msgpackSerializer({ encode, decode }: MsgpackFunctions): Serializer {
  return {
    name: 'msgpack',
    contentType: 'application/x-msgpack',
    encode: (value) => encode(value),
    decode: (bytes) => decode(bytes),
  }
}

/** A module counts: its exports are properties. */
function hasFunctions(value: unknown, names: readonly string[]): value is object {
  if (typeof value !== 'object' || value === null) return false
  return names.every((name) => typeof Reflect.get(value, name) === 'function')
}

function isSerializer(value: unknown): value is Serializer {
  if (!hasFunctions(value, ['encode', 'decode'])) return false
  return ['name', 'contentType'].every((field) => {
    const text: unknown = Reflect.get(value, field)
    return typeof text === 'string' && text !== ''
  })
}
