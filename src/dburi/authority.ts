import type { DburiErrorCode } from '../errors.ts'
import { decode } from './percent.ts'
import { type Place, readPlaces } from './places.ts'
import { splitQuery } from './query.ts'
import type { Options } from './types.ts'
import { unreadable } from './unreadable.ts'
import { splitHosts, splitUserinfo } from './userinfo.ts'

export interface Authority {
  readonly user: string | null
  readonly password: string | null
  readonly places: readonly Place[]
  readonly database: string | null
  readonly options: Options
}

/**
 * `user:password@host:port,host:port/database?options`
 *
 * @param code what a failure is called: libSQL's URLs are `URL_INVALID`, and have no fragment
 */
export function readAuthority(body: string, code: 'UNPARSABLE' | 'URL_INVALID'): Authority {
  const { userinfo, rest } = splitUserinfo(body, code)
  const { hosts, tail } = splitHosts(rest)
  const { path, options } = splitQuery(tail)
  refuseFragment(path, rest, code)
  return {
    ...readUserinfo(userinfo),
    places: readPlaces(hosts, code),
    database: decode('database', path.slice(1)) || null,
    options,
  }
}

function readUserinfo(text: string): Pick<Authority, 'user' | 'password'> {
  const colon = text.indexOf(':')
  if (colon < 0) return { user: decode('user', text) || null, password: null }
  return {
    user: decode('user', text.slice(0, colon)) || null,
    password: decode('password', text.slice(colon + 1)),
  }
}

function refuseFragment(path: string, rest: string, code: DburiErrorCode): void {
  if (path.startsWith('#')) {
    throw unreadable(
      code,
      'host',
      'a host cannot be followed by #. In a user, password or database, write it as %23',
    )
  }
  if (code === 'URL_INVALID' && rest.includes('#')) {
    throw unreadable(code, 'options', 'a libSQL URL cannot have a fragment. Write # as %23')
  }
}
