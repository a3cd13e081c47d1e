import type { DburiError, DburiErrorCode } from '../errors.ts'
import { unreadable } from './unreadable.ts'

/**
 * Parts what stands before the `@` that ends user and password from what stands after it. A password may hold `/ ? #`
 * (SQLAlchemy) and `@` (the last one before the path counts), but not both in a way that leaves it open where it ends:
 * part of it would then be taken for a host, and asked of a name server.
 */
export function splitUserinfo(body: string, code: DburiErrorCode): { userinfo: string; rest: string } {
  const first = body.indexOf('@')
  if (first < 0 || isInOptions(first, body, code)) return { userinfo: '', rest: body }

  const after = body.slice(first + 1)
  const { hosts, tail } = splitHosts(after)
  if (!hasAtInOptionsOnly(tail)) throw ambiguous('password', code)
  const end = first + 1 + hosts.lastIndexOf('@')
  return { userinfo: body.slice(0, end), rest: body.slice(end + 1) }
}

/** Parts the hosts from the path, the query or the fragment behind them. */
export function splitHosts(text: string): { hosts: string; tail: string } {
  const end = text.search(/[/?#]|$/)
  return { hosts: text.slice(0, end), tail: text.slice(end) }
}

/** `user:password@host` where only a path can stand: better an error than a file with the password in its name. */
export function refuseUserinfo(path: string, code: DburiErrorCode): void {
  const colon = path.search(/[:/\\?]|$/)
  if (path[colon] !== ':' || path.lastIndexOf('@') < colon || hasAtInOptionsOnly(path)) return
  throw unreadable(
    code,
    'user',
    'user, password and host have no meaning in a path. If this is a path, write @ as %40',
  )
}

/** Whether the first `@` belongs to an option of a text without userinfo, not to a password with `/ ? #` in it. */
function isInOptions(first: number, body: string, code: DburiErrorCode): boolean {
  const { hosts, tail } = splitHosts(body)
  if (first < hosts.length) return false
  const isHosts = HOSTS.test(hosts) || hosts.startsWith('[')
  if (isHosts && hasAtInOptionsOnly(tail)) return true
  // SQLAlchemy takes h:5432/db@x for user, password and host; libpq takes it for host, port and database.
  const hasColon = hosts.includes(':')
  if (isHosts || !hasColon) throw ambiguous(hasColon ? 'password' : 'user', code)
  return false
}

/** `host`, `host:port` and lists of them, a port having digits. */
const HOSTS = /^(\[[^[\]]*\]|[^:,[\]]*)(:\d+)?(,(\[[^[\]]*\]|[^:,[\]]*)(:\d+)?)*$/

/** An `@` after the hosts is nobody's but an option's when it stands in `?key=value`, with no new path behind it. */
function hasAtInOptionsOnly(text: string): boolean {
  if (!text.includes('@')) return true
  const [path = '', ...query] = text.split('?')
  if (path.includes('@')) return false
  const fields = query.join('?').split('&')
  return fields.every((field) => !field.includes('@') || /^[\w.%-]+=[^@]*@[^@/?#]*$/.test(field))
}

function ambiguous(part: 'user' | 'password', code: DburiErrorCode): DburiError {
  return unreadable(
    code,
    part,
    'it has an @ after its path began, so user, password and host cannot be told apart. ' +
      'Write @ as %40, / as %2F, ? as %3F and # as %23 in user, password, database and options',
  )
}
