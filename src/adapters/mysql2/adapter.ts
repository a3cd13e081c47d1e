import type { Connection as Driver } from 'mysql2'
import type { Mysql2Handle } from '../../driver/dialect.ts'
import { type DrizzleConfig, drizzleConfig, withLogger } from '../../driver/drizzle.ts'
import { importDriver } from '../../driver/load.ts'
import type { Adapter, AdapterOptions } from '../../driver/types.ts'
import { SERVER_IDLE_TIMEOUT } from '../../options/pool.ts'
import { connect, type DriverOptions } from './connect.ts'
import { handleOver } from './drizzle-client.ts'
import { type MysqlPlan, mysqlOptions } from './options.ts'
import { loadTls } from './tls.ts'

/** MySQL and MariaDB by mysql2: `mysql://` and `mariadb://`. */
export const adapter: Adapter<'mysql', Mysql2Handle> = {
  dialect: 'mysql',

  async open(dburi, options) {
    const plan = mysqlOptions(dburi, options)
    const { default: mysql } = await importDriver('mysql2', () => import('mysql2'))
    const { drizzle } = await import('drizzle-orm/mysql2')
    const ssl = plan.tls.mode === 'DISABLED' ? null : await loadTls(plan.tls)
    const { statementCacheSize, maxResponseBytes, exposeParameters } = options
    const config = configOf(options)
    const integers = mysql.TypedParameter.BIGINT

    return {
      pooling: 'queue',
      idleTimeout: SERVER_IDLE_TIMEOUT,
      connect: (signal) =>
        connect(
          {
            plan,
            ssl,
            integers,
            statementCacheSize,
            maxResponseBytes,
            exposeParameters,
            password: passwordOf(plan, options),
            driver,
          },
          signal,
        ),
      handle: (executor, logger) =>
        // Drizzle's type wants all of mysql2; `DrizzleClient` is all it uses.
        handleOver(executor, (client) => drizzle({ client, ...withLogger(config, logger) } as never)),
    }

    function driver({ socket, endpoint, password, ssl: tls }: DriverOptions): Driver {
      return mysql.createConnection({
        ...FIXED,
        ...('host' in endpoint
          ? { host: endpoint.host, port: endpoint.port }
          : { socketPath: endpoint.path }),
        stream: () => socket,
        user: plan.user,
        password: password ?? '',
        ...(plan.database !== null && { database: plan.database }),
        ...(tls !== null && { ssl: tls }),
        maxPreparedStatements: Math.max(1, statementCacheSize),
      })
    }
  },
}

/** MariaDB has no lateral joins, which Drizzle 0.45 would use for relational queries in its other mode. */
function configOf(options: AdapterOptions): DrizzleConfig & { readonly mode?: 'planetscale' } {
  const config = drizzleConfig(options)
  return { ...config, ...(config.schema && { mode: 'planetscale' }) }
}

/** What makes every server's answers look alike. */
const FIXED = {
  charset: 'utf8mb4',
  connectTimeout: 0,
  dateStrings: true,
  supportBigNumbers: true,
  timezone: 'Z',
  // The server may not ask for files of this machine.
  flags: ['-LOCAL_FILES'],
  connectAttributes: { program_name: 'drizzle-celery' },
}

function passwordOf(plan: MysqlPlan, { password }: AdapterOptions): () => Promise<string | null> {
  if (password === undefined) return async () => plan.password()
  return async () => (typeof password === 'function' ? password() : password)
}
