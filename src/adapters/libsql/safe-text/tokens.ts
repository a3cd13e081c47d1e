/** A piece of an SQL text: a word, a name in quotes, a literal, a parameter or a single sign. */
export interface Token {
  readonly text: string
  /** The word in lower case; empty for everything else. */
  readonly word: string
  /** A word or a name in quotes. */
  readonly isName: boolean
  readonly start: number
  readonly end: number
  /** In how many parentheses it stands; a parenthesis stands outside of itself. */
  readonly depth: number
}

const TOKEN = new RegExp(
  [
    String.raw`(?<space>\s+|--[^\n]*|/\*[\s\S]*?(?:\*/|$))`,
    String.raw`(?<name>"(?:[^"]|"")*"|${'`'}(?:[^${'`'}]|${'``'})*${'`'}|\[[^\]]*\])`,
    `(?<literal>'(?:[^']|'')*')`,
    String.raw`(?<word>[A-Za-z_\u0080-\uffff][\w$\u0080-\uffff]*)`,
    String.raw`(?<other>[?:@$#][\w$:\u0080-\uffff]*|[\d.]*\d[\w.]*|[^"'${'`'}[])`,
  ].join('|'),
  'y',
)

/** The tokens of an SQLite text, comments left out; `null` when a quote in it is never closed. */
export function tokensOf(sql: string): Token[] | null {
  const tokens: Token[] = []
  let depth = 0
  let end = 0
  while (end < sql.length) {
    TOKEN.lastIndex = end
    const match = TOKEN.exec(sql)
    if (match === null) return null
    const start = end
    end = TOKEN.lastIndex
    const [text] = match
    const { space, name, word } = match.groups ?? {}
    if (space !== undefined) continue
    if (text === ')') depth--
    tokens.push({
      text,
      word: word?.toLowerCase() ?? '',
      isName: word !== undefined || name !== undefined,
      start,
      end,
      depth,
    })
    if (text === '(') depth++
  }
  return tokens
}

/** A statement and its tokens. */
export interface Text {
  readonly sql: string
  readonly tokens: readonly Token[]
  /** Without what stands before the first and after the last token: comments, semicolons. */
  readonly body: string
}

/** What stands between the commas of a list. */
export function splitItems(tokens: readonly Token[]): Token[][] {
  const items: Token[][] = [[]]
  for (const token of tokens) {
    if (token.text === ',' && token.depth === 0) items.push([])
    else items.at(-1)?.push(token)
  }
  return items
}

/** `name`, `table.name` or `schema.table.name`, without another name for it. */
export function isColumn(item: readonly Token[]): boolean {
  return (
    item.length % 2 === 1 &&
    item.length <= 5 &&
    item.every((token, at) => (at % 2 === 0 ? token.isName : token.text === '.'))
  )
}
