import { setMaxListeners } from 'node:events'
import { AbortListeners } from './abort-listeners.ts'
import { AbortedError, ClosedError, PoolTimeoutError } from './errors.ts'
import { LONGEST_TIMEOUT } from './pool-options.ts'

/** What a pool asks of the things it keeps. */
export interface Poolable {
  ping(): Promise<void>
  close(): Promise<void>
  discard(reason: Error): void
  readonly lost: Error | null
  readonly tainted: boolean
  onLost: (() => void) | null
}

/** The rules of one pool: they make it SQLAlchemy's queue, null or static pool. */
export interface PoolRules {
  /** How many connections stay open when nobody uses them. */
  readonly keep: number
  /** How many connections may be open at once, whoever uses them. */
  readonly limit: number
  /** Over how many connections single statements are spread. */
  readonly spread: number
  /** Single statements on their way on one connection. @default 90, as postgres.js counts to 100 before it queues */
  readonly pipeline?: number
  /** How long a checkout may wait, in seconds. */
  readonly timeout: number
  /** The age in seconds at which a connection is replaced instead of handed out; -1 for never. */
  readonly recycle: number
  /** Ping a connection before it is handed out, if it was idle for longer than a second. */
  readonly prePing: boolean
  /** What to do when none became free. @default to raise the limits, or to look for what is not given back */
  readonly advice?: string
}

/** The counters of a pool at one moment. */
export interface PoolStats {
  /** Connections that are open, being opened or being closed: what the server may count as ours. */
  open: number
  /** Open connections that nobody holds; single statements may be running on them. */
  idle: number
  /** Connections held by a session or a transaction. */
  checkedOut: number
  /** Checkouts and single statements that wait for a connection. */
  waiting: number
  /** Single statements under way on connections that nobody holds. */
  running: number
}

/** A connection that one holder has to itself until it is released. */
export interface Lease<C> {
  readonly connection: C
  /** Gives the connection back. Safe to call twice. */
  release(): void
}

/** How a connection is checked out. */
export interface CheckoutOptions {
  /**
   * Stops the waiting for a connection, with an `AbortedError`. It is not heeded once there is one.
   * @default the wait ends after `poolTimeout`
   */
  signal?: AbortSignal | undefined
  /**
   * A connection nobody had before, which is closed when it is released instead of being kept. It counts for the limit
   * of the pool: an idle one is closed for it where need be.
   * @default false
   */
  ownConnection?: boolean | undefined
}

/** What else this library says about a checkout. */
export interface HolderOptions extends CheckoutOptions {
  /** Called if the checkout has to wait, with a function that ends the waiting; once it is over that does nothing. */
  onWait?: (leave: (reason: Error) => void) => void
}

type Demand = 'lease' | 'ownConnection' | 'share'

interface Member<C> {
  readonly connection: C
  readonly openedAt: number
  /** When the server last gave a sign of life. */
  aliveAt: number
  /** Single statements under way. */
  running: number
  isLeased: boolean
  /** It is being pinged. */
  isChecking: boolean
  /** It was handed out before. */
  isUsed: boolean
  isDoomed: boolean
}

interface Waiter<C> {
  readonly demand: Demand
  grant(member: Member<C>): void
  fail(error: Error): void
}

const PING_AFTER_IDLE = 1_000
const PING_TIMEOUT = 1_000
/** Seconds that a connect may take beyond `poolTimeout`, whatever its own deadline says. */
const LONGEST_CONNECT = 30
const PIPELINE = 90
const ADVICE = 'Raise poolSize, maxOverflow or poolTimeout, or look for sessions that are not closed.'

const aborts = new AbortListeners()

/**
 * Who may use which connection, for how long, with the promises of SQLAlchemy's `QueuePool`: waiters are served in
 * order, the limit holds for all connections together, and a lost or tainted connection is never handed on. Single
 * statements (`share`) run side by side on connections that nobody holds.
 *
 * It knows nothing of databases; whoever returns a connection has ended its transaction.
 */
export class Pool<C extends Poolable> {
  readonly #rules: PoolRules
  readonly #connect: (signal: AbortSignal) => Promise<C>
  readonly #members = new Set<Member<C>>()
  readonly #waiters: Waiter<C>[] = []
  readonly #abortOpening = new AbortController()
  #opening = 0
  #closing = 0
  #checking = 0
  /** The last connect, if it failed. */
  #failedConnect: { readonly error: Error; readonly at: number } | null = null
  #disposed: Promise<void> | null = null
  #onEmpty: (() => void) | null = null

  constructor(connect: (signal: AbortSignal) => Promise<C>, rules: PoolRules) {
    this.#connect = connect
    this.#rules = rules
    // As many connections as the limit allows may be opening at once.
    setMaxListeners(0, this.#abortOpening.signal)
  }

  /**
   * Hands out a connection to hold.
   * @throws PoolTimeoutError, AbortedError, ClosedError, ConnectError
   */
  async checkout(options: HolderOptions = {}): Promise<Lease<C>> {
    const { ownConnection } = options
    const member = await this.#acquire(ownConnection ? 'ownConnection' : 'lease', options)
    if (ownConnection) member.isDoomed = true
    let isReleased = false
    return {
      connection: member.connection,
      release: () => {
        if (isReleased) return
        isReleased = true
        member.isLeased = false
        this.#returned(member)
      },
    }
  }

  /** Runs one piece of work on a connection that nobody holds, next to others' work. */
  share<T>(work: (connection: C) => Promise<T>): Promise<T> {
    const member = this.#waiters.length === 0 && this.#disposed === null ? this.#available('share') : null
    if (member !== null) return this.#runShared(member, work)
    return this.#acquire('share').then((granted) => this.#finishShared(granted, work(granted.connection)))
  }

  stats(): PoolStats {
    const members = [...this.#members]
    return {
      open: this.#size,
      idle: members.filter((member) => !member.isLeased).length,
      checkedOut: members.filter((member) => member.isLeased).length,
      waiting: this.#waiters.length,
      running: members.reduce((sum, member) => sum + member.running, 0),
    }
  }

  /** Whether nobody uses or waits for a connection. */
  get isIdle(): boolean {
    if (this.#waiters.length > 0 || this.#opening > 0) return false
    for (const member of this.#members) if (isBusy(member)) return false
    return true
  }

  /**
   * Refuses new work, rejects who waits, closes idle connections now and the others when they are returned, or after
   * `grace` seconds. Safe to call twice.
   */
  dispose(grace: number): Promise<void> {
    this.#disposed ??= this.#drain(grace)
    return this.#disposed
  }

  async #drain(grace: number): Promise<void> {
    for (const waiter of this.#waiters.splice(0)) waiter.fail(new ClosedError('engine'))
    this.#abortOpening.abort(new ClosedError('engine'))
    const closings = [...this.#members]
      .filter((member) => !isBusy(member))
      .map((member) => this.#close(member))
    if (this.#size > 0) await this.#emptyWithin(grace)
    for (const member of this.#members) {
      this.#remove(member)
      member.connection.discard(new ClosedError('engine'))
    }
    await Promise.all(closings)
  }

  async #emptyWithin(grace: number): Promise<void> {
    let timer: NodeJS.Timeout | undefined
    await new Promise<void>((resolve) => {
      this.#onEmpty = resolve
      timer = setTimeout(resolve, Math.min(grace, LONGEST_TIMEOUT) * 1_000)
    })
    clearTimeout(timer)
  }

  #acquire(demand: Demand, { signal, onWait }: HolderOptions = {}): Promise<Member<C>> {
    if (this.#disposed !== null) return Promise.reject(new ClosedError('engine'))
    if (signal?.aborted) return Promise.reject(aborted(signal))
    const member = this.#waiters.length === 0 ? this.#available(demand) : null
    if (member !== null) {
      this.#take(member, demand)
      return Promise.resolve(member)
    }

    return new Promise((resolve, reject) => {
      let timer: NodeJS.Timeout
      const cameAt = performance.now()
      const longestConnect = cameAt + (this.#rules.timeout + LONGEST_CONNECT) * 1_000
      const settle = () => {
        clearTimeout(timer)
        unlisten?.()
      }
      const waiter: Waiter<C> = {
        demand,
        grant: (granted) => {
          settle()
          this.#take(granted, demand)
          resolve(granted)
        },
        fail: (error) => {
          settle()
          reject(error)
        },
      }
      const leave = (error: Error) => {
        const place = this.#waiters.indexOf(waiter)
        if (place === -1) return
        this.#waiters.splice(place, 1)
        waiter.fail(error)
        this.#serve()
      }
      const onTimeout = () => {
        // Being connected is not waiting for others: it has a deadline of its own (SQLAlchemy's meaning as well).
        const isConnecting = this.#waiters.indexOf(waiter) < this.#opening
        if (isConnecting && performance.now() < longestConnect) startTimer()
        else leave(this.#timedOut(cameAt))
      }
      const startTimer = () => {
        timer = setTimeout(onTimeout, this.#rules.timeout * 1_000)
      }
      startTimer()
      const unlisten = signal && aborts.add(signal, () => leave(aborted(signal)))
      this.#waiters.push(waiter)
      onWait?.(leave)
      this.#serve()
    })
  }

  /** A member that can be handed out at once, or `null`. */
  #available(demand: Demand): Member<C> | null {
    if (demand === 'share') return this.#leastBusy()
    for (const member of this.#members) {
      if (isBusy(member) || this.#isStale(member)) continue
      if (demand === 'ownConnection' && member.isUsed) continue
      return member
    }
    return null
  }

  /** The member for the next single statement; `null` where one more connection should be opened, or none is free. */
  #leastBusy(): Member<C> | null {
    let best: Member<C> | null = null
    let sharing = 0
    const { pipeline = PIPELINE } = this.#rules
    for (const member of this.#members) {
      if (member.isLeased || member.isChecking || member.isDoomed || member.connection.tainted) continue
      if (member.running === 0) {
        if (!this.#isStale(member)) return member
        continue
      }
      sharing++
      if (member.running < pipeline && (best === null || member.running < best.running)) best = member
    }
    const couldOpen = sharing + this.#opening < this.#rules.spread && this.#size < this.#rules.limit
    return couldOpen && this.#rules.keep > 0 ? null : best
  }

  #isStale(member: Member<C>): boolean {
    const now = performance.now()
    if (this.#isOld(member, now)) return true
    return this.#rules.prePing && member.isUsed && now - member.aliveAt > PING_AFTER_IDLE
  }

  #isOld(member: Member<C>, now: number): boolean {
    return this.#rules.recycle >= 0 && now - member.openedAt > this.#rules.recycle * 1_000
  }

  #take(member: Member<C>, demand: Demand): void {
    member.isUsed = true
    if (demand === 'share') member.running++
    else member.isLeased = true
  }

  #runShared<T>(member: Member<C>, work: (connection: C) => Promise<T>): Promise<T> {
    this.#take(member, 'share')
    return this.#finishShared(member, work(member.connection))
  }

  #finishShared<T>(member: Member<C>, work: Promise<T>): Promise<T> {
    const done = () => {
      member.running--
      this.#returned(member)
    }
    // Beside the work, not between it and who awaits it.
    work.then(done, done)
    return work
  }

  #returned(member: Member<C>): void {
    if (!this.#members.has(member)) return
    member.aliveAt = performance.now()
    const { connection } = member
    if (connection.lost !== null) {
      this.#remove(member)
      return
    }
    if (connection.tainted) member.isDoomed = true
    if (member.running > 0) return
    if (member.isDoomed || this.#disposed !== null) {
      void this.#close(member)
      return
    }

    if (this.#waiters.length > 0) this.#serve()
    if (this.#members.size > this.#rules.keep && !isBusy(member)) void this.#close(member)
  }

  /** Gives waiters, in order, what is free, and opens what is missing. */
  #serve(): void {
    let waiter = this.#waiters[0]
    while (waiter !== undefined) {
      const member = this.#available(waiter.demand)
      if (member === null) break
      this.#waiters.shift()
      waiter.grant(member)
      waiter = this.#waiters[0]
    }
    if (waiter === undefined) return

    for (const member of this.#members) {
      if (this.#opening + this.#checking >= this.#waiters.length) return
      if (!isBusy(member) && this.#isStale(member)) this.#check(member)
    }
    if (waiter.demand === 'ownConnection') this.#makeRoom()
    while (this.#opening + this.#checking < this.#wanted() && this.#size < this.#rules.limit) this.#open()
  }

  /** How many connections the waiters could use: single statements share theirs. */
  #wanted(): number {
    let leases = 0
    for (const waiter of this.#waiters) if (waiter.demand !== 'share') leases++
    const shares = this.#waiters.length - leases
    return leases + Math.min(shares, this.#rules.spread)
  }

  /** Closes an idle connection so that the first waiter can have a new one. */
  #makeRoom(): void {
    if (this.#size < this.#rules.limit || this.#opening + this.#closing > 0) return
    for (const member of this.#members) {
      if (isBusy(member)) continue
      void this.#close(member)
      return
    }
  }

  /** Connections the server may count as ours. */
  get #size(): number {
    return this.#members.size + this.#opening + this.#closing
  }

  #open(): void {
    this.#opening++
    this.#connect(this.#abortOpening.signal).then(
      (connection) => {
        this.#opening--
        this.#failedConnect = null
        this.#add(connection)
      },
      (error: Error) => {
        this.#opening--
        this.#failedConnect = { error, at: performance.now() }
        this.#waiters.shift()?.fail(error)
        this.#changed()
      },
    )
  }

  #add(connection: C): void {
    const now = performance.now()
    const member: Member<C> = {
      connection,
      openedAt: now,
      aliveAt: now,
      running: 0,
      isLeased: false,
      isChecking: false,
      isUsed: false,
      isDoomed: false,
    }
    this.#members.add(member)
    connection.onLost = () => this.#remove(member)
    if (this.#disposed !== null) {
      void this.#close(member)
      return
    }
    if (connection.lost !== null) {
      this.#remove(member)
      return
    }
    this.#serve()
    if (this.#members.size > this.#rules.keep && !isBusy(member)) void this.#close(member)
  }

  /** Replaces a member that is too old, or asks the server whether it is still there. */
  #check(member: Member<C>): void {
    if (this.#isOld(member, performance.now())) {
      void this.#close(member)
      return
    }
    member.isChecking = true
    this.#checking++
    ping(member.connection).then(
      () => {
        member.aliveAt = performance.now()
        this.#checked(member)
      },
      (error: Error) => {
        member.connection.discard(error)
        this.#remove(member)
        // What broke this one will have broken the others that are idle as well (SQLAlchemy invalidates them all).
        for (const other of this.#members) other.aliveAt = Number.NEGATIVE_INFINITY
        this.#checked(member)
      },
    )
  }

  #checked(member: Member<C>): void {
    member.isChecking = false
    this.#checking--
    if (this.#disposed !== null && this.#members.has(member)) void this.#close(member)
    this.#serve()
  }

  #remove(member: Member<C>): void {
    if (!this.#members.delete(member)) return
    member.connection.onLost = null
    this.#changed()
  }

  /** A failing close leaves nothing to be done: the connection is out of the pool either way. */
  async #close(member: Member<C>): Promise<void> {
    this.#members.delete(member)
    member.connection.onLost = null
    this.#closing++
    await member.connection.close().catch(() => {})
    this.#closing--
    this.#changed()
  }

  /** A place became free. */
  #changed(): void {
    if (this.#size === 0) this.#onEmpty?.()
    if (this.#disposed === null && this.#waiters.length > 0) this.#serve()
  }

  /** @param cameAt what failed before is not why this waiter got nothing */
  #timedOut(cameAt: number): PoolTimeoutError {
    const { timeout, limit, advice = ADVICE } = this.#rules
    const { open, checkedOut, waiting } = this.stats()
    const opening = this.#opening
    const numbers =
      `No connection became free within ${timeout} s: ${checkedOut} of ${limit} are checked out, ${opening} are ` +
      `being opened, ${open - checkedOut - opening} more are open, ${waiting - 1} others wait.`
    const failed = this.#failedConnect
    if (failed !== null && failed.at >= cameAt) {
      return new PoolTimeoutError(`${numbers} The last attempt to connect failed: see the cause.`, {
        cause: failed.error,
      })
    }
    return new PoolTimeoutError(`${numbers} ${advice}`)
  }
}

function isBusy(member: Member<unknown>): boolean {
  return member.isLeased || member.isChecking || member.isDoomed || member.running > 0
}

async function ping(connection: Poolable): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const deadline = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new ClosedError('connection that answers no ping')), PING_TIMEOUT)
  })
  await Promise.race([connection.ping(), deadline]).finally(() => clearTimeout(timer))
}

function aborted(signal: AbortSignal): AbortedError {
  return new AbortedError('Stopped waiting for a connection: the signal was aborted', {
    cause: signal.reason,
  })
}
