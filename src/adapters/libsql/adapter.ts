import { accessSync, constants } from 'node:fs'
import { keepingParams, showClient } from '../../driver/client.ts'
import type { LibsqlHandle } from '../../driver/dialect.ts'
import { drizzleConfig, withLogger } from '../../driver/drizzle.ts'
import { importDriver } from '../../driver/load.ts'
import type { Adapter, AdapterOptions, Database, DrizzleLogger, Executor } from '../../driver/types.ts'
import { SERVER_IDLE_TIMEOUT } from '../../options/pool.ts'
import { clientConfig, openClient } from './connect.ts'
import { LibsqlConnection } from './connection.ts'
import { shareFile } from './database-file.ts'
import type { Client } from './driver.ts'
import { LibsqlClient } from './drizzle-client.ts'
import { releaseFrames } from './errors.ts'
import { HttpRequests } from './http-requests.ts'
import { type LibsqlPlan, libsqlPlan } from './options.ts'
import { SafeText } from './text/safe-text.ts'

/** SQLite files, databases in memory, embedded replicas and remote libSQL servers by `@libsql/client`. */
export const adapter: Adapter<'sqlite', LibsqlHandle> = {
  dialect: 'sqlite',

  async open(dburi, options) {
    const plan = libsqlPlan(dburi, options)
    const { createClient } = await importDriver('@libsql/client', () => import('@libsql/client'))
    const { drizzle } = await import('drizzle-orm/libsql')
    const config = drizzleConfig(options)
    return open(plan, options, {
      // `Client` is the part of libSQL's client that we use; its results are given other rows by `SafeText`.
      client: (authToken) => {
        const { maxResponseBytes } = options
        const requests = httpRequests(plan, maxResponseBytes)
        const config = { ...clientConfig(plan, authToken), ...(requests && { fetch: requests.fetch }) }
        const client = createClient(config) as unknown as Client
        return requests === null ? client : closingWith(client, requests)
      },
      // Drizzle's type wants all of libSQL's client; `LibsqlClient` has all of it, with types of its own.
      handle: (client, shown, logger) =>
        showClient<LibsqlHandle>(
          drizzle({ client: client as never, ...withLogger(config, logger) }),
          () => shown() as never,
        ),
    })
  },
}

interface Driver {
  client(authToken: string | null): Client
  /** @param shown makes the `$client` of the handle */
  handle(client: LibsqlClient, shown: () => LibsqlClient, logger?: DrizzleLogger): LibsqlHandle
}

function open(plan: LibsqlPlan, options: AdapterOptions, driver: Driver): Database<LibsqlHandle> {
  const { location, busyTimeout, requestTimeout } = plan
  const { statementCacheSize, exposeParameters } = options
  const shared = location.kind === 'file' || location.kind === 'replica' ? shareFile(location.path) : null
  const file = shared?.file ?? null
  const safeText = new SafeText(statementCacheSize, location.kind !== 'remote')
  const isAlone = location.kind === 'memory' || location.kind === 'replica'
  const isQueue = !isAlone
  /** The database in memory is its client: connections come and go, it stays. */
  let memory: Client | null = null

  return {
    pooling: isQueue ? 'queue' : 'static',
    ...(location.kind === 'remote' && { idleTimeout: SERVER_IDLE_TIMEOUT }),
    inThread: location.kind !== 'remote',
    // A statement waits for the locks of others here, not in the driver, so none waits for the one before it.
    pipeline: 90,
    // A file is read synchronously: one connection reads as fast as many.
    ...(location.kind === 'file' && { spread: 1 }),
    handle: (executor, logger) => {
      const clientOn = (on: Executor) => new LibsqlClient(on, protocolOf(plan))
      return driver.handle(clientOn(executor), () => clientOn(keepingParams(executor)), logger)
    },

    async connect(signal) {
      const authToken = await tokenOf(plan, options)
      const client = memory ?? (await openClient(plan, () => driver.client(authToken), signal).catch(failed))
      if (location.kind === 'memory') memory = client
      const readOnly = location.kind === 'file' && !isWritable(location)
      const connection = new LibsqlConnection({
        client,
        safeText,
        // Who cannot write need not wait to be told so.
        mutex: readOnly ? null : (file?.mutex ?? null),
        kind: location.kind,
        file,
        readOnly,
        busyTimeout,
        requestTimeout,
        statementCacheSize,
        exposeParameters,
      })
      if (location.kind !== 'file' || location.journalMode === null) return connection
      try {
        await connection.setJournalMode(location.journalMode)
        return connection
      } catch (error) {
        await connection.close()
        throw error
      }
    },

    async release() {
      memory?.close()
      await shared?.letGo()
    },
  }

  /** The driver opens a file before it finds that it cannot use it. */
  async function failed(error: unknown): Promise<never> {
    releaseFrames(error)
    await file?.released()
    throw error
  }
}

function isWritable({ path, mode }: { readonly path: string; readonly mode: string }): boolean {
  if (mode === 'ro') return false
  try {
    accessSync(path, constants.W_OK)
    return true
  } catch {
    return false
  }
}

/** What watches over the requests of a client; `null` for one that makes none by `fetch`. */
function httpRequests(plan: LibsqlPlan, maxResponseBytes: number): HttpRequests | null {
  const { location, requestTimeout } = plan
  if (location.kind !== 'remote' || protocolOf(plan) !== 'http') return null
  const url = location.url.replace(/^libsql:/, location.tls ? 'https:' : 'http:')
  return new HttpRequests({ url, requestTimeout, maxResponseBytes })
}

/** The client would leave what is under way to itself. */
function closingWith(client: Client, requests: HttpRequests): Client {
  return {
    execute: (statement) => client.execute(statement),
    transaction: (mode) => client.transaction(mode),
    migrate: (statements) => client.migrate(statements),
    executeMultiple: (sql) => client.executeMultiple(sql),
    sync: () => client.sync(),
    reconnect: () => client.reconnect(),
    close() {
      client.close()
      requests.stop()
    },
  }
}

function protocolOf({ location }: LibsqlPlan): string {
  if (location.kind !== 'remote') return 'file'
  return location.url.startsWith('ws') ? 'ws' : 'http'
}

async function tokenOf(plan: LibsqlPlan, { password }: AdapterOptions): Promise<string | null> {
  if (plan.location.kind === 'memory' || plan.location.kind === 'file') return null
  if (password === undefined) return plan.authToken()
  return typeof password === 'function' ? password() : password
}
