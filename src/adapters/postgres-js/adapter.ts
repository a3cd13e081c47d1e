import type { Socket } from 'node:net'
import { showClient } from '../../driver/client.ts'
import { markName } from '../../driver/column-names.ts'
import type { PostgresJsHandle } from '../../driver/dialect.ts'
import { drizzleConfig, withLogger } from '../../driver/drizzle.ts'
import { importDriver } from '../../driver/load.ts'
import type { Adapter, AdapterOptions } from '../../driver/types.ts'
import { SERVER_IDLE_TIMEOUT } from '../../options/pool.ts'
import { connect } from './connect.ts'
import type { PostgresConnection } from './connection.ts'
import { drizzleClient, postgresJsClient } from './drizzle-client.ts'
import { Listeners, type OnNotify } from './listen.ts'
import { type PostgresPlan, postgresOptions } from './options.ts'
import { loadTls } from './tls.ts'
import { addArrayParsers, parseBytea } from './values.ts'

/** PostgreSQL by postgres.js: `postgresql://` and `postgres://`. */
export const adapter: Adapter<'postgresql', PostgresJsHandle> = {
  dialect: 'postgresql',

  async open(dburi, options) {
    const plan = postgresOptions(dburi)
    const { default: postgres } = await importDriver('postgres', () => import('postgres'))
    const { drizzle } = await import('drizzle-orm/postgres-js')
    const tls = plan.tls.mode === 'disable' ? null : await loadTls(plan.tls)
    const { statementCacheSize, maxResponseBytes, exposeParameters } = options
    const config = drizzleConfig(options)
    const password = passwordOf(plan, options)
    const listeners = new Listeners((onNotify, signal) => open(signal, onNotify))

    return {
      pooling: 'queue',
      idleTimeout: SERVER_IDLE_TIMEOUT,
      connect: (signal) => open(signal),
      handle: (executor, logger) =>
        // Drizzle's type wants all of postgres.js; `DrizzleClient` is all it uses.
        showClient<PostgresJsHandle>(
          drizzle({ client: drizzleClient(executor) as never, ...withLogger(config, logger) }),
          () => postgresJsClient(executor),
        ),
      listen: (channel, hearing, signal) => listeners.listen(channel, hearing, signal),
      release: () => listeners.release(),
    }

    function open(signal?: AbortSignal, onNotify?: OnNotify): Promise<PostgresConnection> {
      const client = (given: { socket: () => Socket; password: string | null }) => clientOf(given, onNotify)
      return connect(
        { plan, tls, statementCacheSize, maxResponseBytes, exposeParameters, password, client },
        signal,
      )
    }

    function clientOf(
      { socket, password }: { socket: () => Socket; password: string | null },
      onnotify: OnNotify | undefined,
    ) {
      const made = postgres({
        ...FIXED,
        // These two are missing from postgres.js's types.
        ...{ socket, onnotify },
        user: plan.user,
        database: plan.database,
        pass: password ?? '',
        connection: plan.startup,
      })
      // Lets Drizzle set the parsers it wants; parameters are spelled before postgres.js sees them.
      drizzle({ client: made })
      made.options.parsers[BYTEA] = parseBytea
      addArrayParsers(made.options.parsers)
      for (const oid of Object.keys(made.options.serializers)) delete made.options.serializers[Number(oid)]
      return made
    }
  },
}

/** Every option that postgres.js would otherwise look for in the environment, or decide by itself. */
const FIXED = {
  max: 1,
  host: 'localhost',
  port: 5432,
  ssl: false,
  idle_timeout: 0,
  max_lifetime: null,
  connect_timeout: 0,
  max_pipeline: 100,
  backoff: () => 0,
  keep_alive: null,
  prepare: true,
  debug: false,
  fetch_types: false,
  onnotice: () => {},
  transform: { column: { from: markName } },
} as const

const BYTEA = 17

function passwordOf(plan: PostgresPlan, { password }: AdapterOptions): () => Promise<string | null> {
  if (password === undefined) return async () => plan.password()
  return async () => (typeof password === 'function' ? password() : password)
}
