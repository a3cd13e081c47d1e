/** A row as libSQL's clients have it: its values by name and, not enumerable, by position. */
class Row {
  readonly #values: readonly unknown[]

  constructor(values: readonly unknown[]) {
    this.#values = values
  }

  /** The property for one position; on a prototype, since defining it on each row costs more than the query. */
  static at(position: number): PropertyDescriptor & ThisType<Row> {
    return {
      get() {
        return this.#values[position]
      },
    }
  }
}

/** Makes rows with these columns; of several with one name the first has it. */
export function rowMaker(columns: readonly string[]): (values: readonly unknown[]) => object {
  const names: [string, number][] = []
  for (const [at, name] of columns.entries()) {
    const isTaken = name === 'length' || columns.indexOf(name) !== at || /^\d+$/.test(name)
    if (!isTaken) names.push([name, at])
  }

  class ShapedRow extends Row {
    [name: string]: unknown

    constructor(values: readonly unknown[]) {
      super(values)
      for (const [name, at] of names) {
        if (name === '__proto__') Object.defineProperty(this, name, { value: values[at], enumerable: true })
        else this[name] = values[at]
      }
    }
  }
  Object.defineProperty(ShapedRow.prototype, 'constructor', { value: Object })
  Object.defineProperty(ShapedRow.prototype, 'length', { value: columns.length })
  for (const at of columns.keys()) Object.defineProperty(ShapedRow.prototype, at, Row.at(at))
  return (values) => new ShapedRow(values)
}
