import { DburiError } from '../errors.ts'

/**
 * The text of a dburi as a program gives it: a string, or a `URL`.
 * @throws DburiError for what is neither, and for `file:` URLs
 */
export function dburiText(dburi: unknown): string {
  if (typeof dburi === 'string') return dburi
  if (isUrl(dburi)) return urlText(dburi)
  throw new DburiError(
    dburi == null ? 'EMPTY' : 'UNPARSABLE',
    'dburi',
    `Cannot open a database: the dburi is ${describe(dburi)}. Write postgresql://…`,
  )
}

/** `URL` makes `file:x.db` absolute, from the root, and drops what it takes for a host. */
function urlText({ href, protocol }: URL): string {
  if (protocol !== 'file:') return href
  throw new DburiError(
    'UNPARSABLE',
    'dburi',
    'Cannot open a database: new URL() makes another path of a file: dburi. ' +
      "Give the text itself, as in 'file:results.db'; of a URL of a file, `file:` and its fileURLToPath()",
  )
}

/** Of another realm too, as under Jest. */
function isUrl(value: unknown): value is URL {
  return Object.prototype.toString.call(value) === '[object URL]'
}

function describe(value: unknown): string {
  if (value == null) return `${value} (is DATABASE_URL set?)`
  if (typeof value !== 'object') return `a ${typeof value}, not a text`
  if ('getEngine' in value) return 'a session manager, not a text'
  if ('checkout' in value || 'engine' in value) {
    return 'an engine or a session, not a text: that database is open already, and has `db`'
  }
  return Array.isArray(value) ? 'an array, not a text' : 'an object, not a text'
}
