import type { Flavor } from './table-model.ts'
import { waiting } from './text.ts'

/**
 * Whether every value of the one type is one of the other, and the two are of one family that differs in nothing but how
 * much has room: what a column can be made without a look at its rows.
 */
export function isWider(found: string, expected: string): boolean {
  const sizes = SIZES.find((family) => family.includes(found) && family.includes(expected))
  if (sizes !== undefined) return sizes.indexOf(expected) > sizes.indexOf(found)

  const [, name, length = '0'] = SIZED.exec(found) ?? []
  const [, other, wanted = '0'] = SIZED.exec(expected) ?? []
  return name !== undefined && name === other && Number(wanted) > Number(length)
}

const SIZES: readonly (readonly string[])[] = [
  ['tinyblob', 'blob', 'mediumblob', 'longblob'],
  ['tinytext', 'text', 'mediumtext', 'longtext'],
]

/** A length in characters or bytes, or how many digits a second has. */
const SIZED = /^(varchar|varbinary|datetime|timestamp|time)(?:\((\d+)\))?$/

/** Makes a column as wide as `type` says, which also says again what else is to stay of it. */
export function widenText(flavor: Flavor, table: string, column: string, type: string): string {
  return `ALTER TABLE ${table}${waiting(flavor)} MODIFY COLUMN ${column} ${type}`
}
