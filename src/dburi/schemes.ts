import type { Scheme } from './types.ts'

export const POSTGRES = { dialect: 'postgresql', driver: 'postgres-js', grammar: 'server' } as const
export const PGLITE = { dialect: 'postgresql', driver: 'pglite' } as const
export const MYSQL = { dialect: 'mysql', driver: 'mysql2', grammar: 'server' } as const
export const LIBSQL = { dialect: 'sqlite', driver: 'libsql' } as const

/**
 * The schemes known without registration. A `+driver` that stands here has a meaning of its own; any other names a
 * Python driver, which changes nothing.
 */
export const SCHEMES = {
  postgresql: POSTGRES,
  postgres: POSTGRES,
  cockroachdb: POSTGRES,
  'postgresql+pglite': { ...PGLITE, grammar: 'slashes' },
  pglite: { ...PGLITE, grammar: 'opaque' },
  mysql: MYSQL,
  mariadb: { ...MYSQL, flavor: 'mariadb' },
  sqlite: { ...LIBSQL, grammar: 'slashes' },
  'sqlite+libsql': { ...LIBSQL, grammar: 'slashes', remoteScheme: 'libsql' },
  file: { ...LIBSQL, grammar: 'file' },
  libsql: { ...LIBSQL, grammar: 'remote', remoteScheme: 'libsql' },
  http: { ...LIBSQL, grammar: 'remote', remoteScheme: 'http' },
  https: { ...LIBSQL, grammar: 'remote', remoteScheme: 'https' },
  ws: { ...LIBSQL, grammar: 'remote', remoteScheme: 'ws' },
  wss: { ...LIBSQL, grammar: 'remote', remoteScheme: 'wss' },
} as const satisfies Readonly<Record<string, Scheme>>
