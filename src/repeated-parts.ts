import type { Dburi } from './dburi.ts'

/** Arguments that repeat parts of the dburi: the parser has read them, and they must not say anything else. */
export const REPEATED_PARTS: ReadonlyMap<
  string,
  (dburi: Dburi, value: string | readonly string[]) => boolean
> = new Map([
  ['user', (dburi, value) => dburi.user === value],
  ['password', (dburi, value) => dburi.password === value],
  ['passwd', (dburi, value) => dburi.password === value],
  ['dbname', (dburi, value) => dburi.database === value],
  ['db', (dburi, value) => dburi.database === value],
  ['database', (dburi, value) => dburi.database === value],
  ['host', (dburi, value) => isWithin(hostNames(dburi), value)],
  ['port', (dburi, value) => isWithin(portNames(dburi), value)],
])

function hostNames(dburi: Dburi): ReadonlySet<string> {
  const hosts = dburi.hosts ?? [{ host: dburi.host ?? '', port: dburi.port }]
  const names = hosts.flatMap(({ host, port }) => [host, `[${host}]`, `${host}:${port}`, `[${host}]:${port}`])
  return new Set(
    dburi.socket === undefined ? names : [...names, dburi.socket, `${dburi.socket}:${dburi.port}`],
  )
}

function portNames(dburi: Dburi): ReadonlySet<string> {
  return new Set([dburi.port, ...(dburi.hosts ?? []).map(({ port }) => port)].map((port) => `${port ?? ''}`))
}

function isWithin(names: ReadonlySet<string>, value: string | readonly string[]): boolean {
  return [value].flat().every((text) => text.split(',').every((name) => names.has(name)))
}
