import { SCHEMES } from './schemes.ts'
import type { RegisteredSchemes, Scheme } from './types.ts'
import { unreadable } from './unreadable.ts'
import { listSchemes, unsupported } from './unsupported.ts'

/** A scheme as it was found in a text. */
interface Found {
  readonly scheme: Scheme
  /** What was written after its `+`. */
  readonly dbapi: string | null
  /** The text after its colon. */
  readonly rest: string
}

/** Registered schemes come before built-in ones, and a name with its `+driver` before the name alone. */
export function findScheme(text: string, registered: RegisteredSchemes): Found {
  const { name, rest } = splitScheme(text)
  const [, base = '', dbapi = null] = /^([^+]*)(?:\+(.*))?$/.exec(name) ?? []
  if (dbapi !== null && !/^\w[\w.-]*$/.test(dbapi)) {
    throw unreadable('UNPARSABLE', 'scheme', 'after the + of its scheme there must be the name of a driver')
  }

  for (const candidate of [name.toLowerCase(), base.toLowerCase()]) {
    const scheme = registeredScheme(candidate, rest, registered) ?? builtInScheme(candidate, dbapi)
    if (scheme !== undefined) return { scheme, dbapi, rest }
  }
  throw unsupported(base.toLowerCase(), registered)
}

/** The `db+` of Celery means nothing. */
function splitScheme(text: string): { name: string; rest: string } {
  const bare = text.replace(/^(db|database|sqla)\+/i, '')
  if (/^:memory:(\?|$)/.test(bare)) return { name: 'file', rest: bare }

  const name = /^([a-z][\w+.-]+):/i.exec(bare)?.[1]
  if (name === undefined) {
    throw unreadable('UNPARSABLE', 'scheme', `it does not begin with a scheme. ${hintWithoutScheme(bare)}`)
  }
  return { name, rest: bare.slice(name.length + 1) }
}

function hintWithoutScheme(text: string): string {
  if (/^([a-z]:[\\/]|[./\\~])/i.test(text)) return 'For a file, write file:path or sqlite:///path'
  if (/^\w+\s*=/.test(text)) return 'Write postgresql://user@host/database instead of the key=value form'
  return `Write postgresql://user@host/database, for example. ${listSchemes()}`
}

function registeredScheme(name: string, rest: string, registered: RegisteredSchemes): Scheme | undefined {
  const found = Object.hasOwn(registered, name) ? registered[name] : undefined
  if (found === undefined) return undefined
  const { dialect, driver } = found
  return { dialect, driver, grammar: rest.startsWith('//') ? 'server' : 'opaque' }
}

/** Only SQLAlchemy's own schemes take a `+driver`. */
function builtInScheme(name: string, dbapi: string | null): Scheme | undefined {
  const scheme = isBuiltIn(name) ? SCHEMES[name] : undefined
  const takesDriver = scheme?.grammar === 'server' || scheme?.grammar === 'slashes'
  return dbapi === null || takesDriver ? scheme : undefined
}

function isBuiltIn(name: string): name is keyof typeof SCHEMES {
  return Object.hasOwn(SCHEMES, name)
}
