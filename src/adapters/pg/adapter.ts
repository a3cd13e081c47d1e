import type { Socket } from 'node:net'
import { showClient } from '../../driver/client.ts'
import type { PgHandle } from '../../driver/dialect.ts'
import { drizzleConfig, withLogger } from '../../driver/drizzle.ts'
import { strictly } from '../../driver/handles.ts'
import { missingDriver } from '../../driver/load.ts'
import type { NamedAdapter } from '../../driver/types.ts'
import { refused } from '../../options/values.ts'
import { loadHandles } from '../postgresql/handles.ts'
import { postgresOptions } from '../postgresql/options.ts'
import { openServer } from '../postgresql/server.ts'
import { PgClient } from './client.ts'
import { pgClient } from './drizzle-client.ts'

/** PostgreSQL by pg (node-postgres): `postgresql+pg://`. */
export const pg: NamedAdapter<'pg', 'postgresql', PgHandle> = {
  driver: 'pg',
  dialect: 'postgresql',

  async open(dburi, options) {
    const plan = postgresOptions(dburi)
    const { default: pg } = await loadDriver()
    const xata = await import('drizzle-orm/xata-http')
    // For 1.0: those for pg expect its own parsers. Values of Xata's are texts, and arrays of texts, as ours are.
    const handleOf = await loadHandles('PostgresJsDatabase', () =>
      Reflect.get(strictly(xata), 'xataHttpCodecs'),
    )
    const config = drizzleConfig(options)
    return openServer(plan, options, {
      handle: (executor, logger, cachesReads) =>
        showClient<PgHandle>(handleOf(executor, withLogger(config, logger, cachesReads)), () =>
          pgClient(executor),
        ),
      client({ socket, password, onNotify }) {
        const { user, database, startup } = plan
        const driver = new pg.Client({
          ...FIXED,
          user,
          database,
          // Missing from its types; older versions have no limit of their own.
          ...{ scramMaxIterations: plan.scramMaxIterations },
          // Without one pg would read PGPASSWORD and ~/.pgpass, but it asks a function first.
          password: () => password ?? '',
          stream: () => connected(socket),
        })
        // pg sends only some parameters, durations as numbers, and what the environment adds; `pg.defaults` may say binary.
        Object.assign(driver, { getStartupConf: () => ({ user, database, ...startup }), binary: false })
        return new PgClient(driver, onNotify)
      },
    })
  },
}

/** Options that pg would otherwise look for in the environment. The socket is encrypted where it is to be. */
const FIXED = { host: 'localhost', port: 5432, ssl: false, sslnegotiation: 'postgres' } as const

/** pg connects the socket it is given, and begins when that is connected. */
function connected(socket: Socket): Socket {
  const connect = () => {
    process.nextTick(() => socket.emit('connect'))
    return socket
  }
  return Object.assign(socket, { connect })
}

/** Bundlers leave an import that stands in `try` to run time where they do not find it. */
async function loadDriver() {
  if (process.env['NODE_PG_FORCE_NATIVE'])
    throw refused(
      'NODE_PG_FORCE_NATIVE',
      'libpq would connect by itself, and encrypt as it likes. Unset it, or use postgres',
    )
  try {
    return await import('pg')
  } catch (error) {
    throw missingDriver('pg', error)
  }
}
