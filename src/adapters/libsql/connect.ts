import { statSync } from 'node:fs'
import { dirname } from 'node:path'
import { unlessStopped } from '../../driver/deadline.ts'
import { AbortedError, ConnectError, type ConnectTarget, textOf } from '../../errors.ts'
import { type Client, DRIVER_TIMEOUT } from './driver.ts'
import { isUnauthorized, type Primary, primaryError } from './errors.ts'
import type { LibsqlLocation, LibsqlPlan } from './options.ts'

/** What we give `createClient` of `@libsql/client`. */
export interface ClientConfig {
  url: string
  intMode: 'bigint'
  concurrency: 1
  timeout?: number
  tls?: boolean
  authToken?: string
  encryptionKey?: string
  syncUrl?: string
  syncInterval?: number
  readYourWrites?: boolean
  offline?: boolean
}

/** Milliseconds a server has for its first answer. */
const CONNECT_TIMEOUT = 10_000

/** Everything that is not given is left out: an `undefined` would overrule libSQL's defaults. */
export function clientConfig(plan: LibsqlPlan, authToken: string | null): ClientConfig {
  const { location } = plan
  const encryptionKey = plan.encryptionKey()
  // With one connection a client has one state, and replacing it replaces all of it.
  const config: ClientConfig = { url: urlOf(location), intMode: 'bigint', concurrency: 1 }
  if (location.kind !== 'remote') config.timeout = DRIVER_TIMEOUT
  if (authToken !== null) config.authToken = authToken
  if (encryptionKey !== null) config.encryptionKey = encryptionKey
  if (location.kind === 'remote' && location.tls !== null) config.tls = location.tls
  if (location.kind === 'replica') {
    config.syncUrl = location.syncUrl
    if (location.syncInterval !== null) config.syncInterval = location.syncInterval
    if (location.readYourWrites !== null) config.readYourWrites = location.readYourWrites
    if (location.offline !== null) config.offline = location.offline
  }
  return config
}

function urlOf(location: LibsqlLocation): string {
  switch (location.kind) {
    case 'memory':
      return ':memory:'
    case 'remote':
      return location.url
    case 'replica':
      return `file:${encoded(location.path)}`
    case 'file':
      if (location.mode === 'rwc') return `file:${encoded(location.path)}`
      // SQLite reads such a path as a URI of its own: the only way to tell it how to open the file.
      return `file:${encodeURIComponent(`file:${encoded(location.path)}?mode=${location.mode}`)}`
  }
}

function encoded(path: string): string {
  return path.split('/').map(encodeURIComponent).join('/')
}

/**
 * Makes a client and sees that it works: a file is opened, a server is asked for a sign of life.
 * @throws ConnectError, AbortedError
 */
export async function openClient(
  plan: LibsqlPlan,
  make: () => Client,
  signal: AbortSignal | undefined,
): Promise<Client> {
  const { location } = plan
  if (location.kind !== 'remote') return openFile(location, make)
  const client = make()
  try {
    await firstAnswer(client, location, signal)
    return client
  } catch (error) {
    client.close()
    if (error instanceof ConnectError || error instanceof AbortedError) throw error
    const reason = error instanceof Error ? error.message : String(error)
    throw new ConnectError(
      isUnauthorized(error) ? 'AUTH_REFUSED' : 'CONNECT_FAILED',
      location,
      `Cannot connect to libSQL at ${location.host}:${location.port}: ${reason}`,
      { cause: error },
    )
  }
}

function openFile(location: Exclude<LibsqlLocation, { kind: 'remote' }>, make: () => Client): Client {
  try {
    return make()
  } catch (error) {
    if (location.kind === 'memory') throw error
    const primary = primaryOf(location)
    throw (primary && primaryError(error, primary, true)) ?? fileError(location.path, error)
  }
}

/** Where an embedded replica has its primary; `null` for anything else. */
export function primaryOf(location: LibsqlLocation): Primary | null {
  if (location.kind !== 'replica') return null
  const { protocol, hostname, port } = new URL(location.syncUrl)
  return { host: hostname, port: Number(port) || (protocol === 'http:' ? 80 : 443) }
}

/** A file is opened when it is first needed again, too, after its SQLite connection was replaced. */
export function isOpeningFailure(error: unknown): boolean {
  return error instanceof Error && error.message.startsWith('ConnectionFailed')
}

/** Why a file could not be opened, in words. */
export function fileError(path: string, error: unknown): ConnectError {
  const target: ConnectTarget = { file: path }
  return new ConnectError(
    'FILE_UNUSABLE',
    target,
    `Cannot open the database file ${path}: ${reasonOf(path, error)}`,
    {
      cause: error,
    },
  )
}

function reasonOf(path: string, error: unknown): string {
  const directory = dirname(path)
  const parent = statSync(directory, { throwIfNoEntry: false })
  if (parent === undefined) return `there is no directory ${directory}`
  if (!parent.isDirectory()) return `${directory} is no directory`
  const file = statSync(path, { throwIfNoEntry: false })
  if (file?.isDirectory()) return 'it is a directory'
  if (textOf(error, 'code') === 'SQLITE_NOTADB')
    return 'it is no SQLite database, or encrypted with another key'
  if (file === undefined) return 'it does not exist, and cannot be created'
  return error instanceof Error ? error.message : 'it may not be read'
}

async function firstAnswer(
  client: Client,
  target: { readonly host: string; readonly port: number },
  signal: AbortSignal | undefined,
): Promise<void> {
  const answer = client.execute({ sql: 'select 1', args: [] })
  await unlessStopped(answer, CONNECT_TIMEOUT, signal, (isAborted) =>
    isAborted ? new AbortedError('Stopped connecting to libSQL', { cause: signal?.reason }) : tooSlow(target),
  )
}

function tooSlow(target: { readonly host: string; readonly port: number }): ConnectError {
  return new ConnectError(
    'CONNECT_TIMEOUT',
    target,
    `Cannot connect to libSQL: ${target.host}:${target.port} did not answer within ${CONNECT_TIMEOUT / 1_000} s`,
  )
}
