import type { FieldPacket } from 'mysql2'

/** `mysql2.Types.FLOAT`. */
const FLOAT = 4

/**
 * MySQL's FLOAT as text has six digits; the binary protocol gives all of a single-precision number, 3.14 as
 * 3.140000104904175. One statement is to read like another, so both give what every client of MySQL shows.
 */
export function roundFloats(rows: unknown, fields: readonly FieldPacket[], asArrays: boolean): void {
  if (!Array.isArray(rows)) return
  for (const [index, { columnType, name }] of fields.entries()) {
    if (columnType !== FLOAT) continue
    const key = asArrays ? index : name
    for (const row of rows) {
      const value: unknown = Reflect.get(row, key)
      if (typeof value === 'number') Reflect.set(row, key, Number(value.toPrecision(6)))
    }
  }
}
