import { DburiError, type DburiErrorCode, type DburiPart } from '../errors.ts'

/** No reason may contain anything of the text: what looks like a host may be a password. */
export function unreadable(code: DburiErrorCode, part: DburiPart, reason: string): DburiError {
  return new DburiError(code, part, `Cannot read the dburi: ${reason}`)
}
