/**
 * Columns whose names are those of accessors and methods of every object. Drivers set a value on a row by `=`, which for
 * `__proto__` makes it the row's prototype, and mysql2 refuses them all in the midst of an answer. So while a driver makes
 * the rows such a name is marked by a NUL, which no database allows in a name.
 */
const MARKED: ReadonlySet<string> = new Set([
  '__proto__',
  '__defineGetter__',
  '__defineSetter__',
  '__lookupGetter__',
  '__lookupSetter__',
])

const MARK = '\0'

/** A column's name as a driver may be given it. */
export function markName(name: string): string {
  return MARKED.has(name) ? MARK + name : name
}

/** Whether a name is one that `markName` has changed. */
export function isMarked(name: string): boolean {
  return name.startsWith(MARK)
}

/** The name that a column has. */
export function unmarkName(name: string): string {
  return isMarked(name) ? name.slice(MARK.length) : name
}

/** Gives rows the names their columns have, in place. Rows that are arrays have none. */
export function unmarkRows(rows: unknown[]): void {
  for (const [index, row] of rows.entries()) {
    if (typeof row !== 'object' || row === null || Array.isArray(row)) continue
    // Unlike `=` this makes a property of any name.
    rows[index] = Object.fromEntries(Object.entries(row).map(([name, value]) => [unmarkName(name), value]))
  }
}
