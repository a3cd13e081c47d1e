import type { Connection as Driver } from 'mysql2'
import type { Mysql2Handle } from '../../driver/dialect.ts'
import { type DrizzleConfig, drizzleConfig, withLogger } from '../../driver/drizzle.ts'
import { Endpoints } from '../../driver/endpoints.ts'
import { handleFactory } from '../../driver/handles.ts'
import { missingDriver } from '../../driver/load.ts'
import { passwordOf } from '../../driver/options.ts'
import type { AdapterOptions, NamedAdapter } from '../../driver/types.ts'
import { SERVER_IDLE_TIMEOUT } from '../../options/pool.ts'
import { mysqlCodecs } from './codecs.ts'
import { connect, type DriverOptions } from './connect.ts'
import { handleOver } from './drizzle-client.ts'
import { mysqlOptions } from './options.ts'
import { loadTls } from './tls.ts'

/** MySQL and MariaDB by mysql2: `mysql://` and `mariadb://`. */
export const mysql2: NamedAdapter<'mysql2', 'mysql', Mysql2Handle> = {
  driver: 'mysql2',
  dialect: 'mysql',

  async open(dburi, options) {
    const plan = mysqlOptions(dburi, options)
    const { default: mysql } = await loadDriver()
    const handleOf = await loadHandles()
    const ssl = plan.tls.mode === 'DISABLED' ? null : await loadTls(plan.tls)
    const { statementCacheSize, maxResponseBytes, exposeParameters } = options
    const config = configOf(options)
    const endpoints = new Endpoints()
    const integers = mysql.TypedParameter.BIGINT

    return {
      pooling: 'queue',
      idleTimeout: SERVER_IDLE_TIMEOUT,
      connectTimeout: plan.connectTimeout,
      connect: (signal) =>
        connect(
          {
            plan,
            endpoints,
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
      handle: (executor, logger, cachesReads) =>
        handleOver(executor, (client) => handleOf(client, withLogger(config, logger, cachesReads))),
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

/** Bundlers leave an import that stands in `try` to run time where they do not find it. */
async function loadDriver() {
  try {
    return await import('mysql2')
  } catch (error) {
    throw missingDriver('mysql2', error)
  }
}

async function loadHandles() {
  const { MySql2Session } = await import('drizzle-orm/mysql2/session')
  return handleFactory({
    core: await import('drizzle-orm/mysql-core'),
    dialect: 'MySqlDialect',
    database: ['MySqlAsyncDatabase', 'MySqlDatabase'],
    kind: 'MySql2Database',
    session: MySql2Session,
    codecs: mysqlCodecs,
  })
}

/** MariaDB has no lateral joins, which Drizzle 0.45 would use for relational queries in its other mode. */
function configOf(options: AdapterOptions): DrizzleConfig {
  return { ...drizzleConfig(options), mode: 'planetscale' }
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
