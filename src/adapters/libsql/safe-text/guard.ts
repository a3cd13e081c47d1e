import { type Column, isTextType } from './column.ts'
import { bytesOfHex, textOfHex } from './hex.ts'

/** How a column of its own arrives: as it is; with texts in hex; with texts as blobs and blobs in hex. */
export type Guard = 'plain' | 'hex' | 'exact'

/** The SQL of a column that is guarded. */
export const GUARDS: Readonly<Record<Guard, (column: string) => string>> = {
  plain: (column) => column,
  hex: (column) => `iif(typeof(${column})='text',hex(${column}),${column})`,
  exact: (column) =>
    `case typeof(${column}) when 'text' then cast(${column} as blob) when 'blob' then hex(${column}) else ${column} end`,
}

/** Texts are what others are declared for; of blobs and numbers, texts are the exception. */
export function guardOf({ type }: Column): Guard {
  return type === '' || isTextType(type) ? 'exact' : 'hex'
}

/** The value of a column that was guarded. */
export function decoded(value: unknown, guard: Guard): unknown {
  switch (typeof value) {
    case 'bigint':
      return value >= Number.MIN_SAFE_INTEGER && value <= Number.MAX_SAFE_INTEGER ? Number(value) : value
    case 'string':
      if (guard === 'hex') return textOfHex(value)
      return guard === 'exact' ? bytesOfHex(value) : value
    case 'object':
      return value instanceof ArrayBuffer && guard === 'exact' ? Buffer.from(value).toString() : value
    default:
      return value
  }
}
