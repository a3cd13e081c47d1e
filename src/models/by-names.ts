// drizzle-kit loads this file bare: it imports nothing, and awaits nothing.

interface Names {
  readonly tableNames?: { readonly task?: string; readonly group?: string }
  readonly schemas?: { readonly task?: string; readonly group?: string }
}

/** Makes models once for the same names, so that tables can be compared and cached by identity. */
export function onceByNames<Options extends Names, Models>(
  make: (options: Options) => Models,
): (options: Options) => Models {
  const made = new Map<string, Models>()
  return (options) => {
    const { tableNames, schemas } = options
    const key = JSON.stringify([tableNames?.task, tableNames?.group, schemas?.task ?? 0, schemas?.group ?? 0])
    const models = made.get(key) ?? make(options)
    made.set(key, models)
    return models
  }
}
