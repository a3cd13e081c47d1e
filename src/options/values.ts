import { OptionError } from '../errors.ts'

/**
 * The text of one option as a boolean, in SQLAlchemy's spellings (`asbool`).
 * @throws OptionError (`INVALID_OPTION`)
 */
export function toBoolean(name: string, text: string): boolean {
  const value = BOOLEANS.get(text.toLowerCase())
  if (value === undefined) throw invalid(name, 'true or false')
  return value
}

/**
 * The text of one option as a number in plain decimal notation: no hexadecimal, no exponent, no blanks.
 * @throws OptionError (`INVALID_OPTION`)
 */
export function toNumber(name: string, text: string): number {
  if (!/^-?\d{1,15}(\.\d{1,15})?$/.test(text)) throw invalid(name, 'a number')
  return Number(text)
}

/**
 * The text of one option as one of a few words.
 * @throws OptionError (`INVALID_OPTION`)
 */
export function toWord<Word extends string>(name: string, text: string, words: readonly Word[]): Word {
  const word = words.find((candidate) => candidate === text)
  if (word === undefined) throw invalid(name, words.length > 1 ? `one of ${words.join(', ')}` : `${words[0]}`)
  return word
}

/** The error for an option whose value is wrong. It never repeats the value: that may be a misplaced secret. */
export function invalid(name: string, wanted: string): OptionError {
  return new OptionError('INVALID_OPTION', shown(name), `The option ${quote(name)} must be ${wanted}`)
}

/** @throws OptionError (`INVALID_OPTION`) */
export function assertOption(isValid: boolean, name: string, wanted: string): void {
  if (!isValid) throw invalid(name, wanted)
}

/** The error for an option that is refused whatever its value. */
export function refused(name: string, reason: string): OptionError {
  return new OptionError('REFUSED_OPTION', shown(name), `The option ${quote(name)} is refused: ${reason}`)
}

/** The error for an option nobody knows; it names the known one that was probably meant. */
export function unknown(name: string, known: Iterable<string>): OptionError {
  const message = `The option ${quote(name)} is unknown${hintFor(name, [...known])}`
  return new OptionError('UNKNOWN_OPTION', shown(name), message)
}

/**
 * One error for several.
 * @param errors at least one
 */
export function together(errors: readonly OptionError[]): OptionError {
  const [first = invalid('options', 'right')] = errors
  if (errors.length <= 1) return first
  const faults = errors.flatMap((error) => error.faults)
  const message = `${faults.length} options are wrong. ${faults.map((fault) => fault.message).join('; ')}`
  return new OptionError(first.code, first.option, message, { faults })
}

/** A name is the user's text, and one that no option could have may be a misplaced password. */
function quote(name: string): string {
  return shown(name) || 'whose name is not shown, as no option is called like it,'
}

function shown(name: string): string {
  return /^[a-z_][\w.-]{0,63}$/i.test(name) ? name : ''
}

function hintFor(name: string, known: readonly string[]): string {
  const [, path = '', last = ''] = /^(.*\.)?(.*)$/s.exec(name) ?? []
  const synonym = SYNONYMS.get(toPlain(last))?.find((meant) => known.includes(path + meant))
  const meant = synonym === undefined ? nearest(name, known) : path + synonym
  if (meant !== null) return `: did you mean ${meant}?`
  const elsewhere = ELSEWHERE.get(toPlain(last))
  return elsewhere === undefined || path !== '' ? '' : `: ${elsewhere}`
}

/** What Drizzle, its drivers and other libraries call an option of ours; in lower case, without separators. */
const SYNONYMS: ReadonlyMap<string, readonly string[]> = new Map([
  ['schema', ['models']],
  ['tables', ['models']],
  ['entities', ['models']],
  ['mode', ['prepare']],
  ['synchronize', ['prepare']],
  ['migrationsfolder', ['migrations']],
  ['strict', ['onDifference']],
  ['max', ['poolSize']],
  ['maxconnections', ['poolSize']],
  ['connectionlimit', ['poolSize']],
  ['maxlifetime', ['poolRecycle']],
  ['idletimeoutmillis', ['idleTimeout']],
  ['acquiretimeout', ['poolTimeout']],
  ['connectiontimeoutmillis', ['poolTimeout']],
  ['querytimeout', ['statementTimeout']],
  ['timeout', ['statementTimeout', 'grace']],
  ['abortsignal', ['signal']],
  ['echo', ['logger']],
  ['log', ['logger']],
  ['accessmode', ['readOnly']],
])

/** What belongs somewhere else. */
const ELSEWHERE: ReadonlyMap<string, string> = new Map([
  ...namesOf('the dburi is the first argument', 'url', 'uri', 'dburi', 'connectionstring', 'connection'),
  ...namesOf('write it into the dburi', 'host', 'port', 'user', 'database', 'ssl', 'sslmode', 'authtoken'),
  ...namesOf('give it to a session, or to its begin()', 'isolationlevel', 'readonly'),
])

function namesOf(where: string, ...names: string[]): [name: string, where: string][] {
  return names.map((name) => [name, where])
}

/** The known name that differs in case, separators or a letter or two, or `null`. */
function nearest(name: string, known: Iterable<string>): string | null {
  const plain = toPlain(name)
  let best: string | null = null
  let bestDistance = 1 + Math.min(2, Math.floor(plain.length / 3))
  for (const candidate of plain.length > 60 ? [] : known) {
    const distance = editDistance(plain, toPlain(candidate))
    if (distance < bestDistance) [best, bestDistance] = [candidate, distance]
  }
  return best
}

/** A name without what spellings of it differ in: `ssl-mode`, `ssl_mode` and `sslMode`. */
export function toPlain(name: string): string {
  return name.toLowerCase().replaceAll(/[_.\-\s]/g, '')
}

/** How many letters must be added, dropped or changed to make one word of the other (Levenshtein). */
function editDistance(one: string, other: string): number {
  let previous = Array.from({ length: other.length + 1 }, (_, index) => index)
  for (let row = 1; row <= one.length; row++) {
    const current = [row]
    for (let column = 1; column <= other.length; column++) {
      const change = one[row - 1] === other[column - 1] ? 0 : 1
      current[column] = Math.min(
        (previous[column] ?? 0) + 1,
        (current[column - 1] ?? 0) + 1,
        (previous[column - 1] ?? 0) + change,
      )
    }
    previous = current
  }
  return previous[other.length] ?? 0
}

const BOOLEANS: ReadonlyMap<string, boolean> = new Map([
  ...['true', 'yes', 'on', 'y', 't', '1'].map((word): [string, boolean] => [word, true]),
  ...['false', 'no', 'off', 'n', 'f', '0'].map((word): [string, boolean] => [word, false]),
])
