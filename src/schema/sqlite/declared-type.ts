/**
 * A type as `pragma table_info` gives it, in upper case: SQLite gives back `INTEGER` for `integer` but `numeric` as it was
 * written, and to it case makes no difference, so the catalogue's is to be compared in upper case too. Undefined for text
 * that says more than we understand.
 */
export function declaredType(type: string): string | undefined {
  // Of a type that begins with a quote SQLite keeps what is in the quotes, and nothing else.
  const [, double, single, tick, bracket] = QUOTED_TYPE.exec(type) ?? []
  const quoted =
    double?.replaceAll('""', '"') ?? single?.replaceAll("''", "'") ?? tick?.replaceAll('``', '`') ?? bracket
  if (quoted !== undefined) return quoted.toUpperCase()
  return /--|\/\*/.test(type) ? undefined : type.replace(CONSTRAINTS, '').trim().toUpperCase()
}

/** Whether a custom type brings a constraint along, as `text not null` does; a collation is none. */
export function hasConstraints(type: string): boolean {
  const constraints = CONSTRAINTS.exec(type.replace(QUOTED_TYPE, ''))
  return constraints !== null && !/^\s*collate\s+\S+\s*$/i.test(constraints[0])
}

const CONSTRAINTS =
  /(?:^|\s+)(?:constraint|default|null|not|primary|unique|check|references|collate|generated|as)\b.*$/is

const QUOTED_TYPE = /^\s*(?:"((?:[^"]|"")*)"|'((?:[^']|'')*)'|`((?:[^`]|``)*)`|\[([^\]]*)\])/
