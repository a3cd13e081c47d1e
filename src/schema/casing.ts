import type { Column } from 'drizzle-orm'

/** What Drizzle 0.45 makes of the key of a column without a name; under Drizzle 1.0 every column has its name. */
export type Casing = 'snake_case' | 'camelCase'

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
