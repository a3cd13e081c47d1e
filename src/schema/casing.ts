import type { Column } from 'drizzle-orm'
import { refused, refuseUnless } from '../option-text.ts'
import { isDrizzle1 } from './drizzle-version.ts'

/** What Drizzle 0.45 makes of the key of a column without a name; under 1.0 tables do it, by `snakeCase.table()`. */
export type Casing = 'snake_case' | 'camelCase'

/** @throws OptionError for what is no casing; for any under Drizzle 1.0, whose handles would not heed it */
export function checkCasing(casing: Casing | undefined): void {
  if (casing === undefined) return
  refuseUnless(Object.hasOwn(CONVERSIONS, casing), 'casing', 'snake_case or camelCase')
  if (isDrizzle1) throw refused('casing', 'drizzle-orm 1.0 has none; make your tables by snakeCase.table()')
}

/** The name of a column in the database. */
export function columnName({ name, keyAsName }: ColumnKey, casing: Casing | undefined): string {
  return keyAsName && casing !== undefined ? CONVERSIONS[casing](name) : name
}

export type ColumnKey = Pick<Column, 'name' | 'keyAsName'>

const CONVERSIONS: Record<Casing, (key: string) => string> = {
  snake_case: (key) =>
    wordsOf(key)
      .map((word) => word.toLowerCase())
      .join('_'),
  camelCase: (key) =>
    wordsOf(key)
      .map((word, at) => (at === 0 ? word.toLowerCase() : word.charAt(0).toUpperCase() + word.slice(1)))
      .join(''),
}

/** As Drizzle cuts them: `getHTTPUrl2` is get, HTTP, Url2. */
function wordsOf(key: string): string[] {
  return key.replace(/['’]/g, '').match(/[A-Z]+(?![a-z])|[A-Z]?[a-z\d]+/g) ?? []
}
