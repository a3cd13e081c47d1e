/** An SQL family, by drizzle-kit's word for it. */
export type Dialect = 'postgresql' | 'mysql' | 'sqlite'

/**
 * A parsed dburi. What it does not say is `null`; what does not apply to it is absent.
 *
 * `password` and secret options are properties, for drivers need them, but none that is enumerated: a copy made by
 * spreading, `Object.assign` or `structuredClone` is without them, and `console.log`, `util.inspect` and `JSON.stringify`
 * show `***` instead.
 */
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
  /** The decoded query arguments, not yet validated: the adapter does that. */
  readonly options: Readonly<Record<string, string | readonly string[]>>
  /** All hosts, in order, when there is more than one. */
  readonly hosts?: readonly { readonly host: string; readonly port: number | null }[]
  /** Directory (PostgreSQL) or path (MySQL) of a Unix socket. */
  readonly socket?: string
  readonly memory?: true
  /** `mariadb` for the `mariadb:` schemes, `cockroachdb` for those of its name. */
  readonly flavor?: 'mariadb' | 'cockroachdb'
  /** The scheme libSQL's client is to speak to a remote server. */
  readonly remoteScheme?: 'libsql' | 'http' | 'https' | 'ws' | 'wss'
}

/** What a scheme opens. */
export interface DburiScheme {
  readonly dialect: Dialect
  /** The adapter, by Drizzle's name for the driver. */
  readonly driver: string
}

/** Schemes of registered adapters, in lower case. */
export type RegisteredSchemes = Readonly<Record<string, DburiScheme>>

/** What a scheme opens, and how the text after it is read. */
export interface Scheme extends DburiScheme {
  /**
   * `server`: `//user:password@host:port/database`; `slashes`: `///relative` and `////absolute`; `remote`: a libSQL
   * server; `file`: a path or a file URL; `opaque`: a directory.
   */
  readonly grammar: 'server' | 'slashes' | 'remote' | 'file' | 'opaque'
  readonly flavor?: NonNullable<Dburi['flavor']>
  readonly remoteScheme?: NonNullable<Dburi['remoteScheme']>
  /** The port of a host without one. */
  readonly defaultPort?: number
  /** Whether a server of libSQL's is asked by TLS, if that is not for the option `tls` to say. */
  readonly tls?: 'always' | 'never'
  /**
   * How a database in memory is asked for, beside `:memory:` and naming nothing: by `mode=memory`, or by a name that
   * begins so. Absent where naming nothing does not ask for one.
   */
  readonly memory?: 'mode' | 'memory://'
}

/** What a grammar finds behind a scheme. */
export type Parts = Omit<Partial<Dburi>, 'dialect' | 'driver' | 'dbapi' | 'memory' | 'flavor'>

export type Options = Dburi['options']
