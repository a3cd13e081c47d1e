import type { Gap } from './database-schema.ts'
import type { Definition, IndexDefinition } from './definition.ts'

/** A table, or a materialized view, as the catalogue has it. */
export interface FoundTable {
  /** The schema it is in; undefined where there are none. */
  readonly place: string | undefined
  /** The type of a column; undefined when there is no such column. */
  typeOf(column: string): string | undefined
  isSameType(found: string, expected: string): boolean
  hasIndex(index: IndexDefinition): boolean
}

/** Where a table falls short of its model. */
export function gapsOf({ label: table, columns, indexes }: Definition, found: FoundTable): Gap[] {
  const gaps: Gap[] = []
  const unaddable = new Set<string>()
  for (const { name: column, type, add } of columns) {
    const is = found.typeOf(column)
    if (is === undefined) {
      const addition = add(found.place)
      if (addition === undefined) unaddable.add(column)
      gaps.push({ difference: { kind: 'missing column', table, column, expected: type }, addition })
    } else if (type !== undefined && !found.isSameType(is, type)) {
      const difference = { kind: 'other type', table, column, expected: type, found: is } as const
      gaps.push({ difference, addition: undefined })
    }
  }
  for (const index of indexes.filter((each) => !found.hasIndex(each))) {
    const isAddable = !index.columns.some((column) => unaddable.has(column))
    gaps.push({
      difference: { kind: 'missing index', table, index: index.name },
      addition: isAddable ? [{ stage: 'index', text: index.create(found.place) }] : undefined,
    })
  }
  return gaps
}
