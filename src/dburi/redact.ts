import type { Endpoint } from './authority.ts'
import { parseDburi } from './parse.ts'
import { rowOf } from './schemes.ts'
import { withoutSecrets } from './secrets.ts'
import type { Dburi } from './types.ts'

/**
 * A dburi as it may be printed: `***` stands for the password and for every option that looks like a secret.
 * Never throws: for a text that cannot be read (or whose scheme is a registered one) it is `<unreadable dburi>`.
 */
export function redactDburi(dburi: string | URL | Dburi): string {
  try {
    const isParsed = typeof dburi === 'object' && 'driver' in dburi
    return format(withoutSecrets(isParsed ? dburi : parseDburi(dburi)))
  } catch {
    // Nothing is known about where its secrets stand, so nothing of it can be shown.
    return '<unreadable dburi>'
  }
}

/** Any scheme that means the same: which one was written is not kept. */
function format(dburi: Dburi): string {
  const [name, row] = rowOf(dburi) ?? [dburi.driver]
  const path = encode(dburi.database ?? '')
  const query = formatQuery(dburi)
  if (row?.grammar === 'opaque') return `${name}:${path}${query}`

  const tail = `${path && `/${path}`}${query}`
  if (row?.grammar === 'slashes') return `${name}://${tail}`
  const scheme = row?.grammar === 'server' ? formatScheme(dburi) : name
  return `${scheme}://${formatUserinfo(dburi)}${formatEndpoints(dburi)}${tail}`
}

function formatScheme({ dialect, dbapi, flavor }: Dburi): string {
  const name = flavor ?? dialect
  return dbapi === null ? name : `${name}+${dbapi}`
}

/** The password is a mask, which needs no encoding. */
function formatUserinfo({ user, password }: Dburi): string {
  if (user === null && password === null) return ''
  return `${encodeURIComponent(user ?? '')}${password === null ? '' : `:${password}`}@`
}

/** Nothing where the options say it already. */
function formatEndpoints({ host, port, hosts, socket, options }: Dburi): string {
  if (Object.hasOwn(options, 'host')) return ''
  if (hosts !== undefined) return hosts.map(formatEndpoint).join(',')
  const isOption = Object.hasOwn(options, 'unix_socket') || Object.hasOwn(options, 'socketPath')
  return formatEndpoint({ host: isOption ? host : (socket ?? host), port })
}

function formatEndpoint({ host, port }: Endpoint): string {
  const suffix = port === null ? '' : `:${port}`
  if (host?.includes(':') === true && !host.startsWith('/')) return `[${host}]${suffix}`
  return `${encodeURIComponent(host ?? '')}${suffix}`
}

function formatQuery({ options }: Dburi): string {
  const fields = Object.entries(options).flatMap(([key, value]) =>
    [value].flat().map((text) => `${encode(key)}=${encode(text)}`),
  )
  return fields.length === 0 ? '' : `?${fields.join('&')}`
}

function encode(text: string): string {
  return encodeURIComponent(text).replace(/%(2F|3A|2C|5C)/g, decodeURIComponent)
}
