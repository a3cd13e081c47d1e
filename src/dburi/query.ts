import { DburiError, type DburiErrorCode, type DburiPart } from '../errors.ts'
import type { Options } from './types.ts'

/** What stands before the first `?`, still encoded, and the options after it. */
export function splitQuery(text: string): { path: string; options: Options } {
  const start = text.indexOf('?')
  if (start < 0) return { path: text, options: {} }
  return { path: text.slice(0, start), options: readQuery(text.slice(start + 1)) }
}

/** Of an option that was repeated, or has several names, the last. */
export function lastOption(options: Options, ...keys: string[]): string | undefined {
  return keys.flatMap((key) => options[key] ?? []).at(-1)
}

/** Python's `parse_qsl`: `+` is a space, what has no value is dropped, a repeated key gives a list. */
function readQuery(text: string): Options {
  const values = new Map<string, string[]>()
  for (const field of text.split('&')) {
    const equals = field.indexOf('=')
    if (equals < 0 || equals === field.length - 1) continue
    const key = decodeField(field.slice(0, equals))
    const value = decodeField(field.slice(equals + 1))
    const repeated = values.get(key)
    if (repeated === undefined) values.set(key, [value])
    else repeated.push(value)
  }
  // fromEntries defines properties instead of setting them, so that a key of __proto__ is one like any other.
  return Object.fromEntries(
    [...values].map(([key, [first = '', ...more]]) => [key, more.length > 0 ? [first, ...more] : first]),
  )
}

function decodeField(text: string): string {
  return decode('options', text.replaceAll('+', ' '))
}

/** Python's `unquote`: a `%` that begins no escape stays, invalid UTF-8 becomes U+FFFD. */
export function decode(part: DburiPart, text: string): string {
  const decoded = text.replace(/(?:%[0-9a-f]{2})+/gi, (run) =>
    Buffer.from(run.replaceAll('%', ''), 'hex').toString('utf8'),
  )
  assertNoControls(part, decoded)
  return decoded
}

/** NUL and other control characters, and halves of surrogate pairs, which have no UTF-8. */
export function assertNoControls(part: DburiPart, text: string): void {
  if (!/[\p{Cc}\p{Cs}]/u.test(text)) return
  const where = part === 'dburi' ? '' : ` in its ${part}`
  throw unreadable('UNPARSABLE', part, `control characters are refused, and there is one${where}`)
}

/** No reason may contain anything of the text: what looks like a host may be a password. */
export function unreadable(code: DburiErrorCode, part: DburiPart, reason: string): DburiError {
  return new DburiError(code, part, `Cannot read the dburi: ${reason}`)
}
