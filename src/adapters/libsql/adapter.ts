import { accessSync, constants } from 'node:fs'
import { keepingParams, showClient } from '../../driver/client.ts'
import type { LibsqlHandle } from '../../driver/dialect.ts'
import { type DrizzleConfig, drizzleConfig, withLogger } from '../../driver/drizzle.ts'
import { strictly } from '../../driver/handles.ts'
import { missingDriver } from '../../driver/load.ts'
import { loadQuicken } from '../../driver/quick-dialect.ts'
import type { AdapterOptions, Database, DrizzleLogger, Executor, NamedAdapter } from '../../driver/types.ts'
import type { ConnectTarget } from '../../errors.ts'
import { SERVER_IDLE_TIMEOUT } from '../../options/pool.ts'
import { clientConfig, openClient, primaryOf } from './connect.ts'
import { LibsqlConnection } from './connection.ts'
import { shareFile } from './database-file.ts'
import type { Client } from './driver.ts'
import { LibsqlClient } from './drizzle-client.ts'
import { onlyReads, releaseFrames } from './errors.ts'
import { HttpRequests, type HttpRequestsOptions, ReplicationIndex } from './http-requests.ts'
import { type LibsqlPlan, libsqlPlan } from './options.ts'
import { SafeText } from './text/safe-text.ts'

/** SQLite files, databases in memory, embedded replicas and remote libSQL servers by `@libsql/client`. */
export const libsql: NamedAdapter<'libsql', 'sqlite', LibsqlHandle> = {
  driver: 'libsql',
  dialect: 'sqlite',

  async open(dburi, options) {
    const plan = libsqlPlan(dburi, options)
    const { createClient } = await loadDriver()
    const construct = await loadHandles()
    const config = drizzleConfig(options)
    const replicationIndex = new ReplicationIndex()
    return open(plan, options, {
      // `Client` is the part of libSQL's client that we use; its results are given other rows by `SafeText`.
      client: (authToken) => {
        const requests = httpRequests(plan, { ...options, replicationIndex })
        const config = { ...clientConfig(plan, authToken), ...(requests && { fetch: requests.fetch }) }
        const client = createClient(config) as unknown as Client
        return requests === null ? client : closingWith(client, requests)
      },
      handle: (client, shown, logger, cachesReads) =>
        showClient<LibsqlHandle>(
          construct(client, withLogger(config, logger, cachesReads)),
          () => shown() as never,
        ),
    })
  },
}

/** Bundlers leave an import that stands in `try` to run time where they do not find it. */
async function loadDriver() {
  try {
    return await import('@libsql/client')
  } catch (error) {
    throw missingDriver('@libsql/client', error)
  }
}

/** The part of `drizzle-orm/libsql` that does not import the driver; its types leave the factory out. */
async function loadHandles(): Promise<(client: LibsqlClient, config: DrizzleConfig) => object> {
  const construct = Reflect.get(strictly(await import('drizzle-orm/libsql/driver-core')), 'construct')
  const quicken = await loadQuicken()
  return (client, config) => {
    const handle = construct(client, config)
    quicken(handle.dialect)
    return handle
  }
}

/** What is set there goes to the server, also where a replica reads a file of its own. */
function asksServer({ kind }: LibsqlPlan['location']): boolean {
  return kind === 'remote' || kind === 'replica'
}

const NO_SESSION =
  'a libSQL server gives each statement and each transaction a session of its own. Set what you need at the start of each transaction'

interface Driver {
  client(authToken: string | null): Client
  /** @param shown makes the `$client` of the handle */
  handle(
    client: LibsqlClient,
    shown: () => LibsqlClient,
    logger?: DrizzleLogger,
    cachesReads?: boolean,
  ): LibsqlHandle
}

function open(plan: LibsqlPlan, options: AdapterOptions, driver: Driver): Database<LibsqlHandle> {
  const { location, busyTimeout, requestTimeout, pragmas } = plan
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
    ...(asksServer(location) && { withoutSession: NO_SESSION }),
    // Waiting for locks happens here, not in the driver, so no statement waits for the one before it.
    pipeline: 90,
    // A file is read synchronously: one connection reads as fast as many.
    ...(location.kind === 'file' && { spread: 1 }),
    handle: (executor, logger, cachesReads) => {
      const clientOn = (on: Executor) => new LibsqlClient(on, protocolOf(plan))
      return driver.handle(clientOn(executor), () => clientOn(keepingParams(executor)), logger, cachesReads)
    },

    async connect(signal) {
      const authToken = await tokenOf(plan, options)
      const client = memory ?? (await openClient(plan, () => driver.client(authToken), signal).catch(failed))
      if (location.kind === 'memory') memory = client
      const readOnly = location.kind === 'file' && !isWritable(location)
      const connection = new LibsqlConnection({
        client,
        safeText,
        target: targetOf(location),
        // A read-only file: fail at once instead of waiting for the lock.
        mutex: readOnly ? null : (file?.mutex ?? null),
        kind: location.kind,
        primary: primaryOf(location),
        file,
        readOnly,
        tokenOnlyReads: protocolOf(plan) === 'ws' && onlyReads(authToken),
        busyTimeout,
        requestTimeout,
        statementCacheSize,
        exposeParameters,
      })
      try {
        for (const pragma of pragmas)
          await connection.run({ sql: `pragma ${pragma}`, params: [], asArrays: false }, { isSetUp: true })
        if (location.kind === 'file' && location.journalMode !== null)
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

function targetOf(location: LibsqlPlan['location']): ConnectTarget | undefined {
  if (location.kind === 'memory') return undefined
  return location.kind === 'remote' ? { host: location.host, port: location.port } : { file: location.path }
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

/** Limits the requests of a client; `null` for one that makes none by `fetch`. */
function httpRequests(
  plan: LibsqlPlan,
  { maxResponseBytes, replicationIndex }: Pick<HttpRequestsOptions, 'maxResponseBytes' | 'replicationIndex'>,
): HttpRequests | null {
  const { location, requestTimeout } = plan
  if (location.kind !== 'remote' || protocolOf(plan) !== 'http') return null
  const url = location.url.replace(/^libsql:/, location.tls ? 'https:' : 'http:')
  return new HttpRequests({ url, requestTimeout, maxResponseBytes, replicationIndex })
}

/** The client's own `close()` would leave running requests alone. */
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
