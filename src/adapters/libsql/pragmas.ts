import { invalid, toBoolean, toNumber, toWord } from '../../options/values.ts'

/** Reads the value of a pragma, as it stands in a dburi, and writes it for SQLite. */
type Reader = (name: string, text: string) => string

const flag: Reader = (name, text) => (toBoolean(name, text) ? '1' : '0')

/** A word, or its number, as SQLite takes both. */
const wordOf =
  (...words: readonly string[]): Reader =>
  (name, text) =>
    (/^\d$/.test(text) ? words[Number(text)] : undefined) ?? toWord(name, text.toLowerCase(), words)

const wholeNumber =
  (least: number): Reader =>
  (name, text) => {
    const value = toNumber(name, text)
    if (!Number.isInteger(value) || value < least) throw invalid(name, wholeFrom(least))
    return String(value)
  }

function wholeFrom(least: number): string {
  return Number.isFinite(least) ? `a whole number from ${least}` : 'a whole number'
}

/** What a connection to SQLite can be told for life. What is kept in the file, or changes what SQL means, is not here. */
export const PRAGMAS: Readonly<Record<string, Reader>> = {
  foreign_keys: flag,
  synchronous: wordOf('off', 'normal', 'full', 'extra'),
  // Negative for KiB, as SQLite has it.
  cache_size: wholeNumber(Number.NEGATIVE_INFINITY),
  temp_store: wordOf('default', 'file', 'memory'),
  mmap_size: wholeNumber(0),
  recursive_triggers: flag,
  secure_delete: (name, text) => (text.toLowerCase() === 'fast' ? 'fast' : flag(name, text)),
}

/**
 * How options of SQLite are spelled elsewhere: with an underscore before them and in short by Go's mattn/go-sqlite3, in
 * camel case in JavaScript, and `socket_timeout` by Prisma.
 */
export const SPELLINGS: Readonly<Record<string, string>> = {
  ...Object.fromEntries(Object.keys(PRAGMAS).flatMap((name) => spellingsOf(name))),
  _fk: 'foreign_keys',
  _sync: 'synchronous',
  _rt: 'recursive_triggers',
  journalMode: 'journal_mode',
  _journal_mode: 'journal_mode',
  _journal: 'journal_mode',
  busy_timeout: 'busy_timeout',
  busyTimeout: 'busy_timeout',
  _busy_timeout: 'busy_timeout',
  _timeout: 'busy_timeout',
  // In seconds.
  socket_timeout: 'timeout',
  _txlock: '_txlock',
}

function spellingsOf(name: string): [spelling: string, name: string][] {
  const camelCase = name.replaceAll(/_(\w)/g, (_, letter: string) => letter.toUpperCase())
  return [name, camelCase, `_${name}`].map((spelling) => [spelling, name])
}

export type Option = readonly [name: string, value: string | readonly string[]]

/**
 * An option as it is, or the pragma of `_pragma=foreign_keys(1)`, as Go's modernc.org/sqlite has them.
 * @throws OptionError
 */
export function pragmaApart([name, value]: Option): Option {
  if (name !== '_pragma') return [name, value]
  const [, pragma, inBrackets, afterSign] = /^(\w+)(?:\((.*)\)|=(.*))$/.exec(String(value)) ?? []
  const given = inBrackets ?? afterSign
  if (pragma === undefined || given === undefined) throw invalid(name, 'such as foreign_keys(1)')
  return [pragma, given.replace(/^'(.*)'$/, '$1')]
}
