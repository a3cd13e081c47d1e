import { DburiError, type DburiErrorCode, type DburiPart } from '../errors.ts'
import { decode, lastOption, splitQuery, unreadable } from './query.ts'
import type { Options, Parts, Scheme } from './types.ts'

export interface Authority {
  readonly user: string | null
  readonly password: string | null
  readonly endpoints: readonly Endpoint[]
  readonly database: string | null
  readonly options: Options
}

/**
 * `user:password@host:port,host:port/database?options`
 *
 * @param code what a failure is called: libSQL's URLs are `URL_INVALID`, and have no fragment
 */
function readAuthority(body: string, code: 'UNPARSABLE' | 'URL_INVALID'): Authority {
  const { userinfo, rest } = splitUserinfo(body, code)
  const { hosts, tail } = splitHosts(rest)
  const { path, options } = splitQuery(tail)
  assertNoFragment(path, rest, code)
  return {
    ...readUserinfo(userinfo),
    endpoints: readEndpoints(hosts, code),
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

function assertNoFragment(path: string, rest: string, code: DburiErrorCode): void {
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

/**
 * Parts what stands before the `@` that ends user and password from what stands after it. A password may hold `/ ? #`
 * (SQLAlchemy) and `@` (the last one before the path counts), but not both in a way that leaves it open where it ends:
 * part of it would then be taken for a host, and asked of a name server.
 */
function splitUserinfo(body: string, code: DburiErrorCode): { userinfo: string; rest: string } {
  const first = body.indexOf('@')
  if (first < 0 || isInOptions(first, body, code)) return { userinfo: '', rest: body }

  const after = body.slice(first + 1)
  const { hosts, tail } = splitHosts(after)
  if (!hasAtInOptionsOnly(tail)) throw ambiguous('password', code)
  const end = first + 1 + hosts.lastIndexOf('@')
  return { userinfo: body.slice(0, end), rest: body.slice(end + 1) }
}

/** Parts the hosts from the path, the query or the fragment behind them. */
function splitHosts(text: string): { hosts: string; tail: string } {
  const end = text.search(/[/?#]|$/)
  return { hosts: text.slice(0, end), tail: text.slice(end) }
}

/** `user:password@host` where only a path can stand: better an error than a file with the password in its name. */
export function assertNoUserinfo(path: string, code: DburiErrorCode): void {
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

/** A host, the directory of a socket (it begins with a slash) or neither, and a port. */
export interface Endpoint {
  readonly host: string | null
  readonly port: number | null
}

/** `place,place`, or nothing. */
function readEndpoints(text: string, code: DburiErrorCode): Endpoint[] {
  if (text === '') return []
  const endpoints = splitPlaces(text).map((place) => readEndpoint(place, code))
  if (endpoints.length > 1 && endpoints.some(({ host }) => host === null)) throw missingHost(code)
  return endpoints
}

/** Commas between brackets belong to no list. From the end, so that each character is looked at once. */
function splitPlaces(text: string): string[] {
  const endpoints: string[] = []
  let end = text.length
  let isInBrackets = false
  for (let at = end - 1; at >= 0; at--) {
    const character = text[at]
    if (character === ']') isInBrackets = true
    else if (character === '[') isInBrackets = false
    else if (character === ',' && !isInBrackets) {
      endpoints.push(text.slice(at + 1, end))
      end = at
    }
  }
  endpoints.push(text.slice(0, end))
  return endpoints.reverse()
}

/** The properties of a dburi that say where its server is. */
function toParts(endpoints: readonly Endpoint[]): Pick<Parts, 'host' | 'port' | 'hosts' | 'socket'> {
  const [first] = endpoints
  if (first === undefined) return {}
  if (endpoints.length > 1) {
    return { ...first, hosts: endpoints.map(({ host, port }) => ({ host: host ?? '', port })) }
  }
  return first.host?.startsWith('/') ? { socket: first.host, port: first.port } : first
}

/** `host`, `host:port`, `[ipv6]:port`, `%2Fdirectory:port`, `:port`. */
function readEndpoint(text: string, code: DburiErrorCode): Endpoint {
  if (/^%2f/i.test(text)) {
    const [, directory = '', port] = /^(.*?)(?::(\d*))?$/s.exec(text) ?? []
    return { host: decode('host', directory), port: readPort(port) }
  }
  if (text.startsWith('[')) {
    const [, address, port] = /^\[([0-9a-f:.]+(?:%[\w.%-]+)?)\](?::(.*))?$/is.exec(text) ?? []
    if (address === undefined) throw unreadable(code, 'host', 'an IPv6 address must be written as [::1]:5432')
    return { host: address.replace('%25', '%'), port: readPort(port) }
  }
  const [name = '', port, ...more] = text.split(':')
  if (more.length > 0) {
    throw unreadable(
      code,
      'host',
      'the host has more than one colon. Write an IPv6 address in brackets, as in [::1]:5432',
    )
  }
  return { host: readHostName(name, code), port: readPort(port) }
}

function readHostName(text: string, code: DburiErrorCode): string | null {
  const host = decode('host', text)
  if (/[\s@:/\\?#[\]<>"'`{}|^]/.test(host)) {
    throw unreadable(
      code,
      'host',
      'the host has a character that no host has. Write @ / ? # in a password as %40 %2F %3F %23',
    )
  }
  return host || null
}

/** An empty port is none, as libpq says. */
function readPort(text: string | undefined): number | null {
  if (text === undefined || text === '') return null
  const port = /^\d+$/.test(text) ? Number(text) : 0
  if (port >= 1 && port <= 65_535) return port
  throw new DburiError(
    'INVALID_PORT',
    'port',
    'Cannot read the dburi: the port must be a number from 1 to 65535. ' +
      'If it is a password that stands there, the host is missing: write user:password@host',
  )
}

function missingHost(code: DburiErrorCode): DburiError {
  return unreadable(code, 'host', 'a host is missing beside a comma')
}

/** The options that libpq reads in place of the authority. */
export const LIBPQ_OPTIONS: readonly string[] = ['host', 'port', 'user', 'password', 'dbname']

/** Lets libpq's options win over the authority; of a repeated one, the last. */
function withLibpqOptions({ endpoints, ...parts }: Authority): Parts {
  const { options, user, password, database } = parts
  return {
    ...parts,
    user: lastOption(options, 'user') ?? user,
    password: lastOption(options, 'password') ?? password,
    database: lastOption(options, 'dbname') ?? database,
    ...toParts(overruleEndpoints(endpoints, options)),
  }
}

function overruleEndpoints(authority: readonly Endpoint[], options: Options): readonly Endpoint[] {
  const hosts = listOption(options, 'host').map(readHostOption)
  const endpoints = hosts.length > 0 ? keepPorts(authority, hosts) : authority
  const ports = listOption(options, 'port').map(readPort)
  if (ports.length === 0) return endpoints
  return withPorts(endpoints.length > 0 ? endpoints : [{ host: null, port: null }], ports)
}

/** A directory may hold colons (`/cloudsql/project:region:instance`); a host may have a port (SQLAlchemy). */
function readHostOption(text: string): Endpoint {
  if (text.startsWith('/')) return { host: text, port: null }
  if (/^[0-9a-f]*:(?=[0-9a-f.]*:)[0-9a-f:.]*(%\w+)?$/i.test(text)) return { host: text, port: null }
  // An option is decoded already: a % in it is a %.
  const place = readEndpoint(text.replaceAll('%', '%25'), 'UNPARSABLE')
  if (place.host === null) throw missingHost('UNPARSABLE')
  return place
}

/** The ports of the authority stay where `?host=` names other hosts without ports. */
function keepPorts(authority: readonly Endpoint[], hosts: readonly Endpoint[]): readonly Endpoint[] {
  const ports = authority.map(({ port }) => port)
  const hasNone = ports.every((port) => port === null)
  return hasNone || hosts.some(({ port }) => port !== null) ? hosts : withPorts(hosts, ports)
}

/** One port serves all hosts, or each has its own. */
function withPorts(endpoints: readonly Endpoint[], ports: readonly (number | null)[]): readonly Endpoint[] {
  const [only = null] = ports
  if (ports.length === 1) return endpoints.map(({ host }) => ({ host, port: only }))
  if (ports.length === endpoints.length) {
    return endpoints.map(({ host }, index) => ({ host, port: ports[index] ?? null }))
  }
  throw new DburiError(
    'INVALID_PORT',
    'port',
    'Cannot read the dburi: there must be one port for all hosts, or as many ports as hosts',
  )
}

function listOption(options: Options, key: string): string[] {
  return [options[key] ?? []].flat().flatMap((text) => text.split(','))
}

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

  const { endpoints, ...parts } = authority
  const socket = dialect === 'mysql' ? lastOption(parts.options, 'unix_socket', 'socketPath') : undefined
  return { ...parts, ...toParts(endpoints), ...(socket !== undefined && { socket }) }
}

/** libSQL's own URLs: no fragment, one host, and `tls` only where the client takes it. */
export function readRemote({ remoteScheme, tls: usesTls }: Scheme, rest: string): Parts {
  if (!rest.startsWith('//')) {
    throw invalid('host', 'a libSQL server needs two slashes and a host. Write libsql://host')
  }
  const { endpoints, ...parts } = readAuthority(rest.slice(2), 'URL_INVALID')
  const [endpoint] = endpoints
  if (endpoint?.host == null || endpoint.host.startsWith('/') || endpoints.length > 1) {
    throw invalid('host', 'a libSQL server needs exactly one host. Write libsql://host')
  }

  const { tls } = parts.options
  if (tls !== undefined && tls !== '0' && tls !== '1') throw invalid('options', 'tls must be 0 or 1')
  if (usesTls === undefined && tls === '0' && endpoint.port === null) {
    throw invalid('port', 'tls=0 needs a port, as libSQL asks. Write libsql://host:8080?tls=0')
  }
  if ((usesTls === 'never' && tls === '1') || (usesTls === 'always' && tls === '0')) {
    throw invalid('options', `a ${remoteScheme}: URL cannot have tls=${tls}: change one of them`)
  }
  return { ...parts, ...endpoint, ...(remoteScheme !== undefined && { remoteScheme }) }
}

function invalid(part: DburiPart, reason: string): DburiError {
  return unreadable('URL_INVALID', part, reason)
}
