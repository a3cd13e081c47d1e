/** The rules of one pool: they make it SQLAlchemy's queue, null or static pool. */
export interface PoolRules {
  /** How many connections stay open when nobody uses them. */
  readonly keep: number
  /** How many connections may be open at once, in use or idle. */
  readonly limit: number
  /** How many single statements may run on one connection at once. @default 1 */
  readonly pipeline?: number
  /** Over how many connections they are spread before they share one. @default keep */
  readonly spread?: number
  /** How long a checkout may wait, in seconds. */
  readonly timeout: number
  /** The age in seconds at which a connection is closed, once nobody uses it; -1 for never. */
  readonly recycle: number
  /** Seconds after which a connection that nobody used is closed; 0 for never. */
  readonly idleTimeout: number
  /** Ping a connection before it is handed out, if it was idle for longer than a second. */
  readonly prePing: boolean
  /** Whether a connect that failed with this error is tried again for as long as somebody waits. @default never */
  readonly mayPass?: (error: Error) => boolean
  /** What to do when none became free. @default to raise the limits, or to look for what is not given back */
  readonly advice?: string
}

/** A connection that one holder has to itself until it is released. */
export interface Lease<C> {
  readonly connection: C
  /** When it was asked for, by `performance.now()`. */
  readonly askedAt: number
  /** Gives the connection back; resolves when it is closed, where it is not kept. Safe to call twice. */
  release(): Promise<void>
}

/** How a connection is checked out. */
export interface CheckoutOptions {
  /**
   * Stops the waiting for a connection, with an `AbortedError`. Ignored once there is one.
   * @default the wait ends after `poolTimeout`
   */
  signal?: AbortSignal | undefined
  /**
   * A new connection, which is closed when it is released. It counts towards the pool's limit: if there is no room, an
   * idle one is closed for it.
   * @default false
   */
  ownConnection?: boolean | undefined
}

/** Internal checkout options. */
export interface HolderOptions extends CheckoutOptions {
  /** Called if the checkout has to wait, with a function that ends the waiting; once it is over that does nothing. */
  onWait?: (leave: (reason: Error) => void) => void
}

/** What to do about a pool with no connection to spare. */
export const ADVICE = 'Raise poolSize, maxOverflow or poolTimeout, or look for sessions that are not closed.'

/** The counters of a pool at one moment. */
export interface PoolStats {
  /** Connections that are open, being opened or being closed: what the server may count as ours. */
  open: number
  /** Open connections that nobody holds; a single statement may be running on each. */
  idle: number
  /** Connections held by a session or a transaction. */
  checkedOut: number
  /** Checkouts and single statements that wait for a connection. */
  waiting: number
  /** Single statements that are running on connections nobody holds. */
  running: number
  /** What was counted since the pool was made. */
  totals: PoolTotals
}

/** What a pool has counted since it was made; they only grow. */
export interface PoolTotals {
  /** Connections that were opened. */
  opened: number
  /** Connections that were closed, lost ones included. */
  closed: number
  /** Checkouts and single statements that got no connection within `poolTimeout`. */
  timeouts: number
  /** Checkouts and single statements that had to wait, and do so no more. */
  waits: number
  /** Milliseconds that these have waited, all together. */
  waitedMs: number
}
