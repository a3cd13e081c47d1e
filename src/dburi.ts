import type { Dialect } from './dialect.ts'

/** A parsed dburi. What it does not say is `null`; what does not apply to it is absent. */
export interface Dburi {
  readonly dialect: Dialect
  /** The adapter, by Drizzle's name for the driver. */
  readonly driver: string
  /** The `+driver` of a SQLAlchemy URL, as it was written. */
  readonly dbapi: string | null
  readonly host: string | null
  readonly port: number | null
  readonly user: string | null
  readonly password: string | null
  readonly database: string | null
  /** The decoded query arguments, not yet judged: the adapter does that. */
  readonly options: Readonly<Record<string, string | readonly string[]>>
  /** All hosts, in order, when there is more than one. */
  readonly hosts?: readonly { readonly host: string; readonly port: number | null }[]
  /** Directory (PostgreSQL) or path (MySQL) of a Unix socket. */
  readonly socket?: string
  readonly memory?: true
  /** `mariadb` for the `mariadb:` schemes. */
  readonly flavor?: 'mariadb'
  /** The scheme libSQL's client is to speak to a remote server. */
  readonly remoteScheme?: 'libsql' | 'http' | 'https' | 'ws' | 'wss'
}
