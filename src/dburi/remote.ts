import type { DburiError, DburiPart } from '../errors.ts'
import { readAuthority } from './authority.ts'
import type { Parts, Scheme } from './types.ts'
import { unreadable } from './unreadable.ts'

/** libSQL's own URLs: no fragment, one host, and `tls` only where the client takes it. */
export function readRemote({ remoteScheme = 'libsql' }: Scheme, rest: string): Parts {
  if (!rest.startsWith('//')) {
    throw invalid('host', 'a libSQL server needs two slashes and a host. Write libsql://host')
  }
  const { places, ...parts } = readAuthority(rest.slice(2), 'URL_INVALID')
  const [place] = places
  if (place?.host == null || place.host.startsWith('/') || places.length > 1) {
    throw invalid('host', 'a libSQL server needs exactly one host. Write libsql://host')
  }

  const { tls } = parts.options
  if (tls !== undefined && tls !== '0' && tls !== '1') throw invalid('options', 'tls must be 0 or 1')
  if (remoteScheme === 'libsql' && tls === '0' && place.port === null) {
    throw invalid('port', 'tls=0 needs a port, as libSQL asks. Write libsql://host:8080?tls=0')
  }
  if (tls === TLS_REFUSED[remoteScheme]) {
    throw invalid('options', `a ${remoteScheme}: URL cannot have tls=${tls}: change one of them`)
  }
  return { ...parts, ...place, remoteScheme }
}

/** The `tls` that would contradict a scheme of libSQL's. */
const TLS_REFUSED = { libsql: null, http: '1', ws: '1', https: '0', wss: '0' }

function invalid(part: DburiPart, reason: string): DburiError {
  return unreadable('URL_INVALID', part, reason)
}
