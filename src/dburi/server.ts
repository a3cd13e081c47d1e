import { readAuthority } from './authority.ts'
import { withLibpqOptions } from './libpq-options.ts'
import { toParts } from './places.ts'
import { lastOption } from './query.ts'
import type { Parts, Scheme } from './types.ts'
import { unreadable } from './unreadable.ts'

/** `//user:password@host:port/database?options`, as SQLAlchemy and libpq read it. */
export function readServer({ dialect }: Scheme, rest: string): Parts {
  if (!rest.startsWith('//')) {
    throw unreadable(
      'UNPARSABLE',
      'host',
      'after its scheme there must be two slashes. Write scheme://host/database',
    )
  }
  const authority = readAuthority(rest.slice(2), 'UNPARSABLE')
  if (dialect === 'postgresql') return withLibpqOptions(authority)

  const { places, ...parts } = authority
  const socket = dialect === 'mysql' ? lastOption(parts.options, 'unix_socket', 'socketPath') : undefined
  return { ...parts, ...toParts(places), ...(socket !== undefined && { socket }) }
}
