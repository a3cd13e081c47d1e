import { assertNoUserinfo, readRemote } from './authority.ts'
import { decode, splitQuery, unreadable } from './query.ts'
import type { Parts, Scheme } from './types.ts'

/** SQLAlchemy's file databases: `///relative`, `////absolute`, nothing for memory. */
export function readSlashes(scheme: Scheme, rest: string): Parts {
  if (!rest.startsWith('//')) {
    throw unreadable(
      'UNPARSABLE',
      'database',
      'a path stands after three slashes. Write sqlite:///path or file:path',
    )
  }
  const body = rest.slice(2)
  if (/^([/?]|$)/.test(body)) return readPath(body.replace(/^\//, ''))
  if (scheme.remoteScheme !== undefined) return readRemote(scheme, rest)
  throw unreadable(
    scheme.dialect === 'sqlite' ? 'HOST_IN_SQLITE_URI' : 'UNPARSABLE',
    'host',
    'what stands after two slashes is a host, and this database is a file. ' +
      'Write three slashes before a relative path (sqlite:///results.db), four before an absolute one',
  )
}

/** SQLite's and libSQL's `file:` URLs: the authority, if any, is empty or localhost. */
export function readFile(_scheme: Scheme, rest: string): Parts {
  if (rest.includes('#')) {
    throw unreadable('URL_INVALID', 'database', 'a file URL cannot have a fragment. Write # as %23')
  }
  const path = rest.replace(/^\/\/(localhost)?(?=[/?]|$)/i, '')
  if (path === rest && rest.startsWith('//')) {
    throw unreadable(
      'URL_INVALID',
      'host',
      'a file URL cannot name a host. Write file:path or file:///absolute/path',
    )
  }
  if (/^\/?(\?|$)/.test(path)) {
    throw unreadable('URL_INVALID', 'database', 'the file URL names no file. Write file:path or :memory:')
  }
  assertNoUserinfo(path, 'URL_INVALID')
  return readPath(path)
}

/** `pglite:` and registered schemes without `//`: the rest is the database. */
export function readOpaque(_scheme: Scheme, rest: string): Parts {
  const body = rest.replace(/^\/\//, '')
  if (body !== rest && !/^(\/|\.{1,2}(\/|$)|:memory:|\?|$)/.test(body)) {
    throw unreadable(
      'UNPARSABLE',
      'host',
      'PGlite has no host. Write pglite:./directory or pglite:///absolute/directory',
    )
  }
  assertNoUserinfo(body, 'UNPARSABLE')
  return readPath(body)
}

function readPath(text: string): Parts {
  const { path, options } = splitQuery(text)
  return { database: decode('database', path) || null, options }
}
