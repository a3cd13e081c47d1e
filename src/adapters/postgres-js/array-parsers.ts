type Parser = ((text: string) => unknown) | undefined

/** The array types that every PostgreSQL has, by the types of their elements. */
const ARRAY_OF: Readonly<Record<number, number>> = {
  16: 1000,
  17: 1001,
  18: 1002,
  20: 1016,
  21: 1005,
  23: 1007,
  25: 1009,
  26: 1028,
  114: 199,
  700: 1021,
  701: 1022,
  1042: 1014,
  1043: 1015,
  2950: 2951,
  3802: 3807,
}

/**
 * Gives arrays of built-in types a parser. postgres.js would ask the catalogue for them on each new connection, which
 * costs a round trip, and ends the process when the connection breaks just then.
 */
export function addArrayParsers(parsers: Record<number, Parser>): void {
  for (const [element, array] of Object.entries(ARRAY_OF)) {
    const parse = parsers[Number(element)] ?? ((text: string) => text)
    parsers[array] = (text) => parseArray(text, parse)
  }
}

/** Reads PostgreSQL's text form of an array: `{1,NULL,{"a \"b\"",c}}`, with its bounds left aside. */
export function parseArray(text: string, parse: (element: string) => unknown): unknown[] {
  let at = text.indexOf('{')
  return readArray()

  function readArray(): unknown[] {
    const items: unknown[] = []
    at++
    while (at < text.length && text[at] !== '}') {
      if (text[at] === ',') at++
      items.push(readItem())
    }
    at++
    return items
  }

  function readItem(): unknown {
    if (text[at] === '{') return readArray()
    if (text[at] === '"') return parse(readQuoted())
    const start = at
    while (text[at] !== ',' && text[at] !== '}' && at < text.length) at++
    const item = text.slice(start, at)
    return item === 'NULL' ? null : parse(item)
  }

  function readQuoted(): string {
    let item = ''
    for (at++; text[at] !== '"' && at < text.length; at++) {
      if (text[at] === '\\') at++
      item += text[at]
    }
    at++
    return item
  }
}
