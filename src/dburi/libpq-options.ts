import { DburiError } from '../errors.ts'
import type { Authority } from './authority.ts'
import { missingHost, type Place, readPlace, readPort, toParts } from './places.ts'
import { lastOption } from './query.ts'
import type { Options, Parts } from './types.ts'

/** The options that libpq reads in place of the authority. */
export const LIBPQ_OPTIONS: readonly string[] = ['host', 'port', 'user', 'password', 'dbname']

/** Lets libpq's options win over the authority; of a repeated one, the last. */
export function withLibpqOptions({ places, ...parts }: Authority): Parts {
  const { options, user, password, database } = parts
  return {
    ...parts,
    user: lastOption(options, 'user') ?? user,
    password: lastOption(options, 'password') ?? password,
    database: lastOption(options, 'dbname') ?? database,
    ...toParts(overrulePlaces(places, options)),
  }
}

function overrulePlaces(authority: readonly Place[], options: Options): readonly Place[] {
  const hosts = listOption(options, 'host').map(readHostOption)
  const places = hosts.length > 0 ? keepPorts(authority, hosts) : authority
  const ports = listOption(options, 'port').map(readPort)
  if (ports.length === 0) return places
  return withPorts(places.length > 0 ? places : [{ host: null, port: null }], ports)
}

/** A directory may hold colons (`/cloudsql/project:region:instance`); a host may have a port (SQLAlchemy). */
function readHostOption(text: string): Place {
  if (text.startsWith('/')) return { host: text, port: null }
  if (/^[0-9a-f]*:(?=[0-9a-f.]*:)[0-9a-f:.]*(%\w+)?$/i.test(text)) return { host: text, port: null }
  // An option is decoded already: a % in it is a %.
  const place = readPlace(text.replaceAll('%', '%25'), 'UNPARSABLE')
  if (place.host === null) throw missingHost('UNPARSABLE')
  return place
}

/** The ports of the authority stay where `?host=` names other hosts without ports. */
function keepPorts(authority: readonly Place[], hosts: readonly Place[]): readonly Place[] {
  const ports = authority.map(({ port }) => port)
  const hasNone = ports.every((port) => port === null)
  return hasNone || hosts.some(({ port }) => port !== null) ? hosts : withPorts(hosts, ports)
}

/** One port serves all hosts, or each has its own. */
function withPorts(places: readonly Place[], ports: readonly (number | null)[]): readonly Place[] {
  const [only = null] = ports
  if (ports.length === 1) return places.map(({ host }) => ({ host, port: only }))
  if (ports.length === places.length) {
    return places.map(({ host }, index) => ({ host, port: ports[index] ?? null }))
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
