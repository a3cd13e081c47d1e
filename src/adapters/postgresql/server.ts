import { Endpoints } from '../../driver/endpoints.ts'
import { passwordOf } from '../../driver/options.ts'
import type { AdapterOptions, Database } from '../../driver/types.ts'
import { SERVER_IDLE_TIMEOUT } from '../../options/pool.ts'
import type { Client } from './client.ts'
import { type ClientOptions, connect } from './connect.ts'
import type { PostgresConnection } from './connection.ts'
import { Listeners, type OnNotify } from './listen.ts'
import type { PostgresPlan } from './options.ts'
import { loadTls } from './tls.ts'

const TRANSACTION_POOLED =
  'a pooler in transaction mode (port 6432 or 6543, a host with -pooler in its name, pgbouncer=true) shares the sessions of ' +
  'the server, so that what is set on a connection reaches strangers. Set it for the role or the database (alter role … ' +
  'set …), or in each transaction (set local …), or connect to the server itself; where there is no such pooler, say ' +
  'pgbouncer=false in the dburi'

/** What a driver is for a server. */
export interface ServerDriver<Db> extends Pick<Database<Db>, 'handle'> {
  /** A client on a socket that is ready for the startup message. */
  client(options: ClientOptions & { readonly onNotify: OnNotify | undefined }): Client
}

/**
 * A PostgreSQL server by a driver that takes a socket of ours.
 * @throws OptionError for files of TLS that cannot be read
 */
export async function openServer<Db>(
  plan: PostgresPlan,
  options: AdapterOptions,
  { client, handle }: ServerDriver<Db>,
): Promise<Database<Db>> {
  const tls = plan.tls.mode === 'disable' ? null : await loadTls(plan.tls)
  const { statementCacheSize, maxResponseBytes, exposeParameters } = options
  const password = passwordOf(plan, options)
  const endpoints = new Endpoints()
  const listeners = new Listeners((onNotify, signal) => open(signal, onNotify))

  return {
    pooling: 'queue',
    idleTimeout: SERVER_IDLE_TIMEOUT,
    connectTimeout: plan.connectTimeout,
    ...(plan.isTransactionPooled && { withoutSession: TRANSACTION_POOLED }),
    connect: (signal) => open(signal),
    handle,
    listen: (channel, handler, signal) => listeners.listen(channel, handler, signal),
    release: () => listeners.release(),
  }

  function open(signal?: AbortSignal, onNotify?: OnNotify): Promise<PostgresConnection> {
    return connect(
      {
        plan,
        endpoints,
        tls,
        statementCacheSize,
        maxResponseBytes,
        exposeParameters,
        password,
        client: (given) => client({ ...given, onNotify }),
      },
      signal,
    )
  }
}
