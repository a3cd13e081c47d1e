import { OptionError } from '../errors.ts'
import { aDeadline, aFlag, aFunction, aText, type Checks, check, checkOptions } from '../options/check.ts'

/** Who may look, where the page is, and what it may do and cost. */
export interface ResultsAppOptions {
  /**
   * The secret that lets one in, at least 16 characters: once as `?token=` in the address, which sets a cookie, or in a header
   * `Authorization: Bearer`. Either this or `auth` is given.
   */
  readonly token?: string | undefined
  /**
   * Whether a request may look, by the rules of the program that mounts the page; or `'everyone'`: every result, argument and
   * traceback is shown to all who can reach it.
   */
  readonly auth?: ((request: Request) => boolean | Promise<boolean>) | 'everyone' | undefined
  /** The path under which the page is mounted: `/results`. @default the root */
  readonly basePath?: string | undefined
  /**
   * The names under which browsers reach it, with or without a port: `results.example.com`. A request that names another
   * host is refused, as it may come from a page that had its own name point here.
   * @default localhost, 127.0.0.1 and [::1]
   */
  readonly allowedHosts?: readonly string[] | undefined
  /** Nothing can be changed. With `false` results can be forgotten and cleaned up. @default true */
  readonly readOnly?: boolean | undefined
  /** What stands at the top of each page. @default 'Celery results' */
  readonly title?: string | undefined
  /** Tasks a page, 1 to 500. @default 50 */
  readonly pageSize?: number | undefined
  /** Seconds between two looks at the database, while anybody watches: one look for all of them. @default 2 */
  readonly liveInterval?: number | undefined
  /** How many may watch at once, each by an open connection; others look again every 10 seconds. @default 100 */
  readonly maxStreams?: number | undefined
  /** Seconds after which a page that is not there yet is given up. @default 10 */
  readonly timeout?: number | undefined
  /** Told of each error that a visitor is only told of in general. */
  readonly onError?: ((error: unknown) => void) | undefined
}

/** The options with their defaults. */
export interface SettledOptions {
  readonly token: string | null
  readonly auth: ((request: Request) => boolean | Promise<boolean>) | null
  readonly basePath: string
  readonly allowedHosts: ReadonlySet<string>
  readonly readOnly: boolean
  readonly title: string
  readonly pageSize: number
  readonly liveInterval: number
  readonly maxStreams: number
  readonly timeout: number
  readonly onError: (error: unknown) => void
}

/** @throws OptionError */
export function settleOptions(options: ResultsAppOptions): SettledOptions {
  checkOptions('resultsApp', options, CHECKS)
  const { token, auth, basePath = '/', allowedHosts = LOOPBACK, readOnly = true } = options
  if ((token === undefined) === (auth === undefined)) throw whoMayLook()
  return {
    token: token ?? null,
    auth: auth === undefined ? null : auth === 'everyone' ? () => true : auth,
    basePath: basePath.replace(/\/$/, ''),
    allowedHosts: new Set(allowedHosts.map((host) => host.toLowerCase())),
    readOnly,
    title: options.title ?? 'Celery results',
    pageSize: options.pageSize ?? 50,
    liveInterval: options.liveInterval ?? 2,
    maxStreams: options.maxStreams ?? 100,
    timeout: options.timeout ?? 10,
    onError: neverThrowing(options.onError ?? (() => {})),
  }
}

/** What the program's own callback throws would end the process: most errors come where nobody waits for the answer. */
function neverThrowing(onError: (error: unknown) => void): (error: unknown) => void {
  return (error) => {
    try {
      onError(error)
    } catch {
      process.emitWarning(
        "The option onError of resultsApp threw. It is told of a page's errors, and must not throw.",
        {
          code: 'DRIZZLE_CELERY_ON_ERROR',
        },
      )
    }
  }
}

export const LOOPBACK: readonly string[] = ['localhost', '127.0.0.1', '[::1]']

function whoMayLook(): OptionError {
  return new OptionError(
    'INVALID_OPTION',
    'auth',
    'Who may look? Give resultsApp either a token or auth, a function that is asked for each request; ' +
      "auth: 'everyone' shows every result to all who can reach the page",
  )
}

const isText = (value: unknown): value is string => typeof value === 'string'
const isCount = (most: number) => (value: unknown) =>
  typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= most

const CHECKS: Checks<ResultsAppOptions> = {
  token: check(
    (value) => isText(value) && /^[!-~]{16,256}$/.test(value),
    '16 to 256 visible ASCII characters',
  ),
  auth: check((value) => value === 'everyone' || typeof value === 'function', "a function, or 'everyone'"),
  basePath: check(
    (value) => isText(value) && (value === '' || /^\/(?:[\w.~-]+\/?)*$/.test(value)),
    'a path that begins with /, of letters, digits and -._~',
  ),
  allowedHosts: check(
    (value) =>
      Array.isArray(value) && value.length > 0 && value.every((host) => isText(host) && HOST.test(host)),
    'a list of names of hosts, each with or without a port',
  ),
  readOnly: aFlag,
  title: aText,
  pageSize: check(isCount(500), 'a whole number from 1 to 500'),
  liveInterval: aDeadline,
  maxStreams: check(isCount(10_000), 'a whole number from 1 to 10000'),
  timeout: aDeadline,
  onError: aFunction,
}

const HOST = /^(?:[a-z\d](?:[a-z\d._-]*[a-z\d])?|\[[\da-f:.]+\])(?::\d{1,5})?$/i
