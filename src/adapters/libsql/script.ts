import { type Token, tokensOf } from './safe-text/tokens.ts'

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

/** As SQLite itself tells when a text is complete: `; end ;` */
function endsTrigger(tokens: readonly Token[], at: number): boolean {
  return tokens[at - 1]?.word === 'end' && tokens[at - 2]?.text === ';'
}
