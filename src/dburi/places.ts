import { DburiError, type DburiErrorCode } from '../errors.ts'
import { decode } from './percent.ts'
import type { Parts } from './types.ts'
import { unreadable } from './unreadable.ts'

/** A host, the directory of a socket (it begins with a slash) or neither, and a port. */
export interface Place {
  readonly host: string | null
  readonly port: number | null
}

/** `place,place`, or nothing. */
export function readPlaces(text: string, code: DburiErrorCode): Place[] {
  if (text === '') return []
  const places = splitPlaces(text).map((place) => readPlace(place, code))
  if (places.length > 1 && places.some(({ host }) => host === null)) throw missingHost(code)
  return places
}

/** Commas between brackets belong to no list. From the end, so that each character is looked at once. */
function splitPlaces(text: string): string[] {
  const places: string[] = []
  let end = text.length
  let isInBrackets = false
  for (let at = end - 1; at >= 0; at--) {
    const character = text[at]
    if (character === ']') isInBrackets = true
    else if (character === '[') isInBrackets = false
    else if (character === ',' && !isInBrackets) {
      places.push(text.slice(at + 1, end))
      end = at
    }
  }
  places.push(text.slice(0, end))
  return places.reverse()
}

/** The properties of a dburi that say where its server is. */
export function toParts(places: readonly Place[]): Pick<Parts, 'host' | 'port' | 'hosts' | 'socket'> {
  const [first] = places
  if (first === undefined) return {}
  if (places.length > 1) {
    return { ...first, hosts: places.map(({ host, port }) => ({ host: host ?? '', port })) }
  }
  return first.host?.startsWith('/') ? { socket: first.host, port: first.port } : first
}

/** `host`, `host:port`, `[ipv6]:port`, `%2Fdirectory:port`, `:port`. */
export function readPlace(text: string, code: DburiErrorCode): Place {
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
export function readPort(text: string | undefined): number | null {
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

export function missingHost(code: DburiErrorCode): DburiError {
  return unreadable(code, 'host', 'a host is missing beside a comma')
}
