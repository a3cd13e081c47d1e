import type { Socket } from 'node:net'
import { showClient } from '../../driver/client.ts'
import { markName } from '../../driver/column-names.ts'
import type { PostgresJsHandle } from '../../driver/dialect.ts'
import { drizzleConfig, withLogger } from '../../driver/drizzle.ts'
import { missingDriver } from '../../driver/load.ts'
import { CLOSE_TIMEOUT } from '../../driver/socket.ts'
import type { NamedAdapter } from '../../driver/types.ts'
import type { Client, ClientQuery } from '../postgresql/client.ts'
import { loadHandles, postgresJsCodecs } from '../postgresql/handles.ts'
import { postgresOptions } from '../postgresql/options.ts'
import { openServer, type ServerDriver } from '../postgresql/server.ts'
import { addArrayParsers, parseBytea } from '../postgresql/values.ts'
import { postgresJsClient } from './client.ts'
import { Query, sendQueryOf } from './query.ts'

/** PostgreSQL by postgres.js: `postgresql://` and `postgres://`. */
export const postgresJs: NamedAdapter<'postgres-js', 'postgresql', PostgresJsHandle> = {
  driver: 'postgres-js',
  dialect: 'postgresql',

  async open(dburi, options) {
    const plan = postgresOptions(dburi)
    const { default: postgres } = await loadDriver()
    const handleOf = await loadHandles('PostgresJsDatabase', postgresJsCodecs)
    const config = drizzleConfig(options)
    return openServer(plan, options, {
      client,
      handle: (executor, logger, cachesReads) =>
        showClient<PostgresJsHandle>(handleOf(executor, withLogger(config, logger, cachesReads)), () =>
          postgresJsClient(executor),
        ),
    })

    function client({
      socket,
      password,
      onNotify,
    }: Parameters<ServerDriver<PostgresJsHandle>['client']>[0]): Client {
      const made = postgres({
        ...FIXED,
        // These two are missing from postgres.js's types.
        ...{ socket: once(socket), onnotify: onNotify },
        user: plan.user,
        database: plan.database,
        pass: password ?? '',
        connection: plan.startup,
      })
      // Drizzle reads dates itself; parameters are encoded before postgres.js sees them.
      for (const oid of DATES) made.options.parsers[oid] = (text) => text
      made.options.parsers[BYTEA] = parseBytea
      addArrayParsers(made.options.parsers)
      for (const oid of Object.keys(made.options.serializers)) delete made.options.serializers[Number(oid)]
      const sendQuery = sendQueryOf(made)
      const send = (query: Query) => {
        sendQuery(query)
        return query
      }
      return {
        typed: made.typed,
        send: (query) => send(new Query(query, query.parsed?.named === null ? 'its text' : 'nothing')),
        deallocate: ({ name, driversSignature: signature }, isReplaced) =>
          send(new Query(plain(`deallocate "${name}"`), isReplaced ? 'nothing' : { signature })),
        end: () => void made.end({ timeout: CLOSE_TIMEOUT / 1_000 }),
        drop: () => void made.end({ timeout: 0 }),
      }
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
const DATES = [1082, 1114, 1184]

/** A second call is postgres.js trying to replace a lost connection behind our back. */
function once(socket: Socket): () => Socket {
  let isTaken = false
  return () => {
    if (isTaken) throw new Error('The connection is lost')
    isTaken = true
    return socket
  }
}

/** A statement of our own, of which nobody reads an answer. */
function plain(sql: string): ClientQuery {
  return { sql, bound: [], asArrays: false, relational: null, parsed: null, carriesBegin: false }
}

/** Bundlers leave an import that stands in `try` to run time where they do not find it. */
async function loadDriver() {
  try {
    return await import('postgres')
  } catch (error) {
    throw missingDriver('postgres', error)
  }
}
