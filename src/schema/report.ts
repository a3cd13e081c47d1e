/** Where a database is not as its models have it, or a migration not as it was when it ran. */
export type Difference =
  | {
      readonly kind: 'missing column'
      readonly table: string
      readonly column: string
      /** The type the model wants; undefined when it is no type that the database is born with. */
      readonly expected: string | undefined
    }
  | {
      readonly kind: 'other type'
      readonly table: string
      readonly column: string
      readonly expected: string
      /** The type in the database. */
      readonly found: string
    }
  | { readonly kind: 'missing index'; readonly table: string; readonly index: string }
  | { readonly kind: 'edited migration'; readonly migration: string }

/** What `prepareModels` found and did. Things in a schema that their model names are called `schema.name`. */
export interface PreparedModels {
  /** The tables, sequences, enums and the like that this call created. */
  readonly created: string[]
  /** What this call added to tables that were there: columns as `table.column`, indexes by their names. */
  readonly added: string[]
  /** MySQL: the columns this call made wider, as `table.column`. */
  readonly widened: string[]
  /** What was there, or was created by somebody else meanwhile. */
  readonly present: string[]
  /** What is not there and was not to be created: only `'check'` and `'migrate'` leave any. */
  readonly missing: string[]
  /** Where tables that were there still differ from their models. */
  readonly differences: Difference[]
  /** The migrations that this call ran, in order. */
  readonly migrated: string[]
  readonly milliseconds: number
}

/** A difference in one line. */
export function inWords(difference: Difference): string {
  switch (difference.kind) {
    case 'missing column':
      return `${difference.table} has no column "${difference.column}"`
    case 'other type':
      return `${difference.table}.${difference.column} is ${difference.found}, its model says ${difference.expected}`
    case 'missing index':
      return `${difference.table} has no index "${difference.index}"`
    case 'edited migration':
      return `the migration ${difference.migration} was changed after it ran`
  }
}
