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
  /** Single statements under way on connections that nobody holds. */
  running: number
}
