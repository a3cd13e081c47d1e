import type { DburiPart } from '../errors.ts'
import { unreadable } from './unreadable.ts'

/** Python's `unquote`: a `%` that begins no escape stays, invalid UTF-8 becomes U+FFFD. */
export function decode(part: DburiPart, text: string): string {
  const decoded = text.replace(/(?:%[0-9a-f]{2})+/gi, (run) =>
    Buffer.from(run.replaceAll('%', ''), 'hex').toString('utf8'),
  )
  refuseControls(part, decoded)
  return decoded
}

/** NUL and other control characters, and halves of surrogate pairs, which have no UTF-8. */
export function refuseControls(part: DburiPart, text: string): void {
  if (!/[\p{Cc}\p{Cs}]/u.test(text)) return
  const where = part === 'dburi' ? '' : ` in its ${part}`
  throw unreadable('UNPARSABLE', part, `control characters are refused, and there is one${where}`)
}
