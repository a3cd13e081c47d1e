import type { Column } from 'drizzle-orm'
import * as drizzle from 'drizzle-orm'
import { assertOption, refused } from '../options/values.ts'

/** What Drizzle 0.45 makes of the key of a column without a name; under 1.0 tables do it, by `snakeCase.table()`. */
export type Casing = 'snake_case' | 'camelCase'

/** @throws OptionError for what is no casing; for any under Drizzle 1.0, whose handles ignore it */
export function checkCasing(casing: Casing | undefined): void {
  if (casing === undefined) return
  assertOption(Object.hasOwn(CONVERSIONS, casing), 'casing', 'snake_case or camelCase')
  if (isDrizzle1) throw refused('casing', 'drizzle-orm 1.0 has none; make your tables by snakeCase.table()')
}

/** The name of a column in the database. */
export function columnName({ name, keyAsName }: ColumnKey, casing: Casing | undefined): string {
  return keyAsName && casing !== undefined ? CONVERSIONS[casing](name) : name
}

export function columnNames(columns: readonly ColumnKey[], casing: Casing | undefined): string[] {
  return columns.map((column) => columnName(column, casing))
}

/** As drizzle-kit does it, also in a name that was chosen: each key's first mention becomes its column's name. */
export function recased(name: string, columns: readonly ColumnKey[], casing: Casing | undefined): string {
  if (casing === undefined) return name
  return columns.reduce((text, column) => text.replace(column.name, columnName(column, casing)), name)
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

/**
 * drizzle-kit 1.0's name for a foreign key without a chosen one, whose `full` name is made of all its tables and columns:
 * where that is long a hash of it, on PostgreSQL and on MySQL.
 */
export function foreignKeyName(table: string, full: string): string {
  if (full.length <= 63) return full
  return table.length < 45 ? `${table}_${hash(full)}_fkey` : `${hash(full)}_fkey`
}

const DIGITS = '0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ'
const HASH_LENGTH = 12

/** drizzle-kit's: the code points as a polynomial in 53, modulo the number of digit strings of that length. */
function hash(text: string): string {
  const base = BigInt(DIGITS.length)
  const modulus = base ** BigInt(HASH_LENGTH)
  let power = 1n
  let sum = 0n
  for (const character of text) {
    sum = (sum + BigInt(character.codePointAt(0) ?? 0) * power) % modulus
    power = (power * 53n) % modulus
  }
  let digits = ''
  for (let rest = sum; digits.length < HASH_LENGTH; rest /= base) {
    digits = DIGITS.charAt(Number(rest % base)) + digits
  }
  return digits
}

/** Whether Drizzle is 1.0: there, among others, tables have a casing and columns a number of dimensions. */
export const isDrizzle1 = 'defineRelations' in drizzle
