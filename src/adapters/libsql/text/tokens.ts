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

/**
 * The parts of a script that are done wholly or not at all: its statements, each of which commits by itself, and what
 * stands between a savepoint and its release. A text whose quotes are not closed is one part.
 */
export function scriptParts(sql: string): string[] {
  const tokens = tokensOf(sql)
  if (tokens === null) return [sql]
  const parts: string[] = []
  let start = 0
  let savepoints = 0
  for (const { end, verb } of statementsOf(tokens)) {
    if (verb === 'savepoint') savepoints++
    if (verb === 'release') savepoints--
    if (savepoints > 0) continue
    savepoints = 0
    parts.push(sql.slice(start, end))
    start = end
  }
  if (sql.slice(start).trim() !== '') parts.push(sql.slice(start))
  return parts
}

interface Statement {
  /** Behind its semicolon. */
  readonly end: number
  readonly verb: string
}

/** Where statements end: at semicolons, but for those of a trigger, whose own stands behind its `end`. */
function* statementsOf(tokens: readonly Token[]): Generator<Statement> {
  let first = 0
  for (const [at, { text, end }] of tokens.entries()) {
    if (text !== ';') continue
    const words = tokens.slice(first, first + 3).map(({ word }) => word)
    if (words[0] === 'create' && words.includes('trigger') && !endsTrigger(tokens, at)) continue
    yield { end, verb: words[0] ?? '' }
    first = at + 1
  }
}

/** As SQLite itself decides whether a text is complete: `; end ;` */
function endsTrigger(tokens: readonly Token[], at: number): boolean {
  return tokens[at - 1]?.word === 'end' && tokens[at - 2]?.text === ';'
}
