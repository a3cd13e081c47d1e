import { StatementError } from '../../../errors.ts'
import { plain, type Reading, type Unlearned } from './reading.ts'
import { selectForm } from './select.ts'
import { type Text, type Token, tokensOf } from './tokens.ts'
import { writeForm } from './write.ts'

/**
 * How a text is run, as far as it tells by itself.
 * @throws StatementError when it holds several statements
 */
export function formOf(sql: string, guards: boolean): Reading | Unlearned {
  const tokens = tokensOf(sql)
  // SQLite will say what is wrong with it; nothing of it runs before that.
  if (tokens === null) return plain(sql, true)
  while (tokens[0]?.text === ';') tokens.shift()
  while (tokens.at(-1)?.text === ';') tokens.pop()
  const first = tokens[0]
  const last = tokens.at(-1)
  if (first === undefined || last === undefined) return plain(sql, false)

  const verb = verbOf(tokens)
  if (verb !== 'create' || !tokens.some(isWord('trigger'))) refuseSeveral(tokens)
  if (!isBalanced(tokens)) return plain(sql, true)
  if (!guards) return plain(sql, !READERS.has(verb), DDL.has(verb))
  const text: Text = { sql, tokens, body: sql.slice(first.start, last.end) }
  if (verb === 'select' || verb === 'values') return selectForm(text)
  if (WRITERS.has(verb)) return writeForm(text, verb)
  return plain(sql, !READERS.has(verb), DDL.has(verb))
}

const READERS = new Set(['select', 'values', 'explain', 'pragma'])
const WRITERS = new Set(['insert', 'replace', 'update', 'delete'])
const DDL = new Set(['create', 'alter', 'drop'])

/** The word that says what a statement does; behind `with`, that of its main part. */
function verbOf(tokens: readonly Token[]): string {
  const first = tokens[0]?.word ?? ''
  if (first !== 'with') return first
  const main = tokens.find(({ word, depth }) => depth === 0 && (READERS.has(word) || WRITERS.has(word)))
  return main?.word ?? ''
}

function refuseSeveral(tokens: readonly Token[]): void {
  if (!tokens.some(({ text }) => text === ';')) return
  throw new StatementError(
    'INVALID_STATEMENT',
    'Cannot run several statements at once: libSQL would run the first and ignore the others. ' +
      'Run them one by one, or with batch() or executeMultiple() of db.$client.',
  )
}

function isBalanced(tokens: readonly Token[]): boolean {
  const parentheses = tokens.filter(({ text }) => text === '(' || text === ')')
  const opened = parentheses.filter(({ text }) => text === '(').length
  return opened * 2 === parentheses.length && tokens.every(({ depth }) => depth >= 0)
}

function isWord(word: string): (token: Token) => boolean {
  return (token) => token.word === word
}
