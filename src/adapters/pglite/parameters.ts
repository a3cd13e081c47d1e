import { assertNotTooMany, bind, UNKNOWN } from '../postgresql/parameters.ts'

/** A parameter on its way to PGlite. */
export interface BoundValue {
  readonly value: string | null | BoundObject
  readonly oid: number
}

/** What PGlite is given for an array or object: how it is written depends on the type PostgreSQL finds for it. */
class BoundObject {
  readonly #object: object
  readonly #text: string

  constructor(object: object, text: string) {
    this.#object = object
    this.#text = text
  }

  toString(): string {
    return this.#text
  }

  toJSON(): unknown {
    return this.#object
  }
}

/** What PGlite sends; the protocol could count one more. */
const MOST = 65_534
const JSON_OID = 114
const JSONB_OID = 3802

/**
 * All the serializers PGlite shall have: everything is text by then, but where PostgreSQL wants JSON an array is one
 * of JSON, as rc.5 of Drizzle 1.0 relies on. PGlite's own refuse text for bytea, and throw in the midst of a statement.
 */
export const SERIALIZERS: Readonly<Record<number, (value: unknown) => string>> = {
  [JSON_OID]: toJson,
  [JSONB_OID]: toJson,
}

function toJson(value: unknown): string {
  if (typeof value === 'string') return value
  return JSON.stringify(value, (_, part: unknown) => (typeof part === 'bigint' ? String(part) : part))
}

/**
 * Binds the parameters of a statement before any of it is sent.
 * @throws StatementError naming the position
 */
export function bindParameters(params: readonly unknown[]): BoundValue[] {
  assertNotTooMany(params, MOST)
  return params.map((param, index) => {
    if (param === null || typeof param === 'string') return { value: param, oid: UNKNOWN }
    const { text, oid } = bind(param, index)
    return {
      value: oid === UNKNOWN && typeof param === 'object' ? new BoundObject(param, text) : text,
      oid,
    }
  })
}
