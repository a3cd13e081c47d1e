/** A column of a result: its name, and the type it was declared with, empty for an expression. */
export interface Column {
  readonly name: string
  readonly type: string
}

/** Whether a column is declared for texts, by SQLite's rules: INT comes first. */
export function isTextType(type: string): boolean {
  return /CHAR|CLOB|TEXT/i.test(type) && !/INT/i.test(type)
}
