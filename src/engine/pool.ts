import { AbortListeners } from '../driver/deadline.ts'
import { AbortedError, ClosedError, PoolTimeoutError } from '../errors.ts'
import { LONGEST_TIMEOUT } from '../options/pool.ts'
import { IdleStack, type Member, memberOf, type Poolable, ping, type Status } from './idle-stack.ts'
import { Openings } from './openings.ts'
import type { PoolRules, PoolStats } from './pool-rules.ts'
import { Waiter, WaitQueue } from './wait-queue.ts'

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

/** Internal checkout options. */
export interface HolderOptions extends CheckoutOptions {
  /** Called if the checkout has to wait, with a function that ends the waiting; once it is over that does nothing. */
  onWait?: (leave: (reason: Error) => void) => void
}

type Demand = 'lease' | 'ownConnection' | 'statement'

const PING_AFTER_IDLE = 1_000
/** Seconds that a connect may take beyond `poolTimeout`, whatever its own deadline says. */
const LONGEST_CONNECT = 30
/**
 * Milliseconds a single statement waits for one of the connections that are kept, before one beyond them is opened:
 * short statements take turns sooner than a connection opens.
 */
const OVERFLOW_AFTER = 10
/** Milliseconds until the next try for a single statement, where none could be opened beyond those that are kept. */
const OVERFLOW_RETRY = 1_000
const ADVICE = 'Raise poolSize, maxOverflow or poolTimeout, or look for sessions that are not closed.'

const aborts = new AbortListeners()
/** Nothing to wait for. */
const DONE = Promise.resolve()

/**
 * Who may use which connection, for how long, with the promises of SQLAlchemy's `QueuePool`: waiters are served in
 * order, the limit holds for all connections together, and a lost or tainted connection is never handed on. A connection
 * has one user at a time: a holder, or a single statement (`share`), or several where they do not wait for each other.
 * Nothing is sent behind a statement of somebody else, since none is known to be quick: a plain read waits for a lock.
 *
 * It knows nothing of databases; the caller has ended the transaction of a connection that it returns.
 */
export class Pool<C extends Poolable> {
  readonly #rules: PoolRules
  readonly #openings: Openings<C>
  readonly #members = new Set<Member<C>>()
  readonly #idle: IdleStack<C>
  readonly #count: Record<Status, number> = { idle: 0, leased: 0, running: 0, checking: 0, gone: 0 }
  readonly #waiters: WaitQueue<Demand, Member<C>>
  /** How many of them want to hold a connection. */
  #waitingHolders = 0
  #closing = 0
  /** Looks again whether a connection may be opened. */
  #openTimer: NodeJS.Timeout | null = null
  #openAt = 0
  /** A ping sent then failed: who was silent since is probably broken too. */
  #doubtedAt = Number.NEGATIVE_INFINITY
  /** Idle connections know the pool by this only, so that one that is forgotten is collected. */
  readonly #weak = new WeakRef(this)
  #disposed: Promise<void> | null = null
  #onEmpty: (() => void) | null = null

  constructor(connect: (signal: AbortSignal) => Promise<C>, rules: PoolRules) {
    this.#rules = rules
    this.#idle = new IdleStack(rules, (member) => void this.#close(member))
    this.#openings = new Openings(connect, (error) => rules.mayPass?.(error) ?? false)
    this.#waiters = new WaitQueue({
      timeout: rules.timeout,
      // Being connected is not waiting for others: it has a deadline of its own (SQLAlchemy's meaning as well).
      mayStay: ({ cameAt }, place) =>
        place < this.#openings.count &&
        performance.now() < cameAt + (rules.timeout + LONGEST_CONNECT) * 1_000,
      onExpired: (waiter) => {
        if (waiter.demand !== 'statement') this.#waitingHolders--
        waiter.reject(this.#timedOut(waiter.cameAt))
        this.#serve()
      },
    })
  }

  /** Its connections; they do not lead to the pool. */
  get members(): ReadonlySet<{ readonly connection: C }> {
    return this.#members
  }

  /**
   * Hands out a connection to hold.
   * @throws PoolTimeoutError, AbortedError, ClosedError, ConnectError
   */
  async checkout(options: HolderOptions = {}): Promise<Lease<C>> {
    const { ownConnection } = options
    const askedAt = performance.now()
    const member = await this.#acquire(ownConnection ? 'ownConnection' : 'lease', options)
    if (ownConnection) member.isDoomed = true
    let released: Promise<void> | null = null
    return {
      connection: member.connection,
      askedAt,
      release: () => {
        released ??= this.#returned(member)
        return released
      },
    }
  }

  /** Runs one statement on a connection that nobody holds; beside others of its kind only as far as `pipeline` allows. */
  share<T>(work: (connection: C) => Promise<T>): Promise<T> {
    const member = this.#waiters.size === 0 && this.#disposed === null ? this.#available('statement') : null
    if (member === null) {
      return this.#acquire('statement').then((granted) => this.#run(granted, work))
    }
    this.#take(member, 'statement')
    return this.#run(member, work)
  }

  stats(): PoolStats {
    const { leased } = this.#count
    let running = 0
    for (const member of this.#members) running += member.running
    return {
      open: this.#size,
      idle: this.#members.size - leased,
      checkedOut: leased,
      waiting: this.#waiters.size,
      running,
    }
  }

  /** Whether nobody uses or waits for a connection. */
  get isIdle(): boolean {
    return this.#waiters.size === 0 && this.#openings.count === 0 && this.#idle.size === this.#members.size
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
    for (let waiter = this.#waiters.first; waiter !== null; waiter = this.#waiters.first) {
      this.#dismiss(waiter, new ClosedError('engine'))
    }
    clearTimeout(this.#openTimer ?? undefined)
    this.#idle.stop()
    this.#openings.stop(new ClosedError('engine'))
    const closings = this.#idle.fromTop().map((member) => this.#close(member))
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
    const member = this.#waiters.size === 0 ? this.#available(demand) : null
    if (member !== null) {
      this.#take(member, demand)
      return Promise.resolve(member)
    }

    return new Promise((resolve, reject) => {
      const waiter = new Waiter(demand, resolve, reject)
      const leave = (error: Error) => {
        if (!waiter.isQueued) return
        this.#dismiss(waiter, error)
        this.#serve()
      }
      if (signal !== undefined) waiter.onLeft = aborts.add(signal, () => leave(aborted(signal)))
      this.#waiters.push(waiter)
      if (waiter.demand !== 'statement') this.#waitingHolders++
      onWait?.(leave)
      this.#serve()
    })
  }

  #leftQueue(waiter: Waiter<Demand, Member<C>>): void {
    this.#waiters.remove(waiter)
    if (waiter.demand !== 'statement') this.#waitingHolders--
  }

  #grant(waiter: Waiter<Demand, Member<C>>, member: Member<C>): void {
    this.#leftQueue(waiter)
    this.#take(member, waiter.demand)
    waiter.resolve(member)
  }

  #dismiss(waiter: Waiter<Demand, Member<C>>, error: Error): void {
    this.#leftQueue(waiter)
    waiter.reject(error)
  }

  /** A member that can be handed out at once, or `null`. */
  #available(demand: Demand): Member<C> | null {
    const isFit = (member: Member<C>) =>
      !this.#isStale(member) && (demand !== 'ownConnection' || !member.isUsed)
    return this.#idle.find(isFit) ?? (demand === 'statement' ? this.#leastBusy() : null)
  }

  /** One more statement for a connection on which none waits for another. */
  #leastBusy(): Member<C> | null {
    const { keep, pipeline = 1, spread = keep } = this.#rules
    let best: Member<C> | null = null
    if (pipeline === 1 || this.#count.running + this.#openings.count < spread) return best
    for (const member of this.#members) {
      if (member.status !== 'running' || member.connection.tainted || member.running >= pipeline) continue
      if (best === null || member.running < best.running) best = member
    }
    return best
  }

  #isStale(member: Member<C>): boolean {
    const now = performance.now()
    if (this.#idle.isOld(member, now)) return true
    return this.#rules.prePing && member.isUsed && now - member.aliveAt > PING_AFTER_IDLE
  }

  #take(member: Member<C>, demand: Demand): void {
    member.isUsed = true
    if (demand !== 'statement') this.#move(member, 'leased')
    else if (++member.running === 1) this.#move(member, 'running')
  }

  #run<T>(member: Member<C>, work: (connection: C) => Promise<T>): Promise<T> {
    const result = work(member.connection)
    const done = () => {
      if (--member.running === 0) void this.#returned(member)
    }
    // Beside the work, not between it and who awaits it.
    result.then(done, done)
    return result
  }

  /** Every change of a member's status is made here. */
  #move(member: Member<C>, status: Status): void {
    this.#count[member.status]--
    this.#count[status]++
    if (member.status === 'idle') this.#idle.remove(member)
    if (status === 'idle') this.#idle.push(member)
    member.status = status
  }

  /** Made where nothing leads to the pool: closures keep what their neighbours use. */
  static #remover<C extends Poolable>(pool: WeakRef<Pool<C>>, member: Member<C>): () => void {
    return () => {
      const kept = pool.deref()
      if (kept !== undefined) kept.#remove(member)
    }
  }

  /** Resolves when the connection is closed, if it is not kept. */
  #returned(member: Member<C>): Promise<void> {
    if (member.status === 'gone') return DONE
    member.aliveAt = performance.now()
    const { connection } = member
    if (connection.lost !== null) {
      this.#remove(member)
      return DONE
    }
    if (connection.tainted || member.isDoomed || this.#disposed !== null) return this.#close(member)
    return this.#offer(member)
  }

  /** Gives a member to who waits, keeps it, or closes it. */
  #offer(member: Member<C>): Promise<void> {
    const { keep } = this.#rules
    const isAnswered = member.status === 'running'
    this.#move(member, 'idle')
    if (this.#waiters.size > 0) this.#serve()
    const closeSurplus = () =>
      this.#members.size > keep && member.status === 'idle' ? this.#close(member) : DONE
    // Whoever has its single statement answered may have the next one ready.
    if (!isAnswered || keep === 0 || this.#members.size <= keep) return closeSurplus()
    setImmediate(closeSurplus)
    return DONE
  }

  /** Gives waiters, in order, what is free, and opens what is missing. */
  #serve(): void {
    let beingOpened = this.#openings.count
    for (let each = this.#waiters.first, next = each; each !== null; each = next) {
      next = each.after
      const member = this.#available(each.demand)
      if (member !== null) this.#grant(each, member)
      // Who wants a new connection, which is being opened, keeps nobody from those that are there.
      else if (each.demand !== 'ownConnection' || beingOpened-- <= 0) break
    }
    const waiter = this.#waiters.first
    if (waiter === null) return

    // The one returned last first: those below are left to be closed.
    for (const member of this.#idle.fromTop()) {
      if (this.#coming >= this.#waiters.size) return
      if (this.#isStale(member)) this.#check(member)
    }
    if (waiter.demand === 'ownConnection') this.#makeRoom()
    while (this.#coming < this.#waiters.size && this.#mayOpen(waiter)) this.#open()
  }

  /** How many connections are about to be there: being opened, or asked for a sign of life that will probably come. */
  get #coming(): number {
    let coming = this.#openings.count
    if (this.#count.checking === 0) return coming
    for (const { status, aliveAt } of this.#members) {
      if (status === 'checking' && aliveAt >= this.#doubtedAt) coming++
    }
    return coming
  }

  #mayOpen(first: Waiter<Demand, Member<C>>): boolean {
    const { keep, limit } = this.#rules
    if (this.#size >= limit) return false
    let from = this.#openings.notBefore
    const isBeyondKept = keep > 0 && this.#size >= keep
    if (isBeyondKept && this.#coming >= this.#waitingHolders) {
      const failedAt = this.#openings.failure?.at ?? Number.NEGATIVE_INFINITY
      from = Math.max(from, first.cameAt + OVERFLOW_AFTER, failedAt + OVERFLOW_RETRY)
    }
    const wait = from - performance.now()
    if (wait > 0) this.#serveAt(from, wait)
    return wait <= 0
  }

  #serveAt(time: number, wait: number): void {
    // What is being opened now serves when it ends.
    if (time === Number.POSITIVE_INFINITY) return
    if (this.#openTimer !== null && this.#openAt <= time) return
    clearTimeout(this.#openTimer ?? undefined)
    this.#openAt = time
    this.#openTimer = setTimeout(() => {
      this.#openTimer = null
      this.#serve()
    }, Math.ceil(wait)).unref()
  }

  /** Closes an idle connection so that the first waiter can have a new one. */
  #makeRoom(): void {
    if (this.#size < this.#rules.limit || this.#openings.count + this.#closing > 0) return
    const member = this.#idle.bottom
    if (member !== undefined) void this.#close(member)
  }

  /** Connections the server may count as ours. */
  get #size(): number {
    return this.#members.size + this.#openings.count + this.#closing
  }

  #open(): void {
    this.#openings.begin(
      (connection) => this.#add(connection),
      (error) => {
        const missed = this.#firstInNeed()
        if (missed !== null) this.#miss(missed, error)
        this.#changed()
      },
    )
  }

  /** Tells a waiter that it gets no connection, unless it can wait until the server lets us in. */
  #miss(waiter: Waiter<Demand, Member<C>>, error: Error): void {
    if (!this.#openings.failure?.mayPass) this.#dismiss(waiter, error)
    else if (performance.now() >= waiter.cameAt + this.#rules.timeout * 1_000)
      this.#dismiss(waiter, this.#timedOut(waiter.cameAt))
  }

  /** Who is told that no connection could be opened: a single statement goes on with those that are kept, where there are any. */
  #firstInNeed(): Waiter<Demand, Member<C>> | null {
    const { keep } = this.#rules
    const areKept = keep > 0 && this.#members.size >= keep
    let waiter = this.#waiters.first
    while (areKept && waiter !== null && waiter.demand === 'statement') waiter = waiter.after
    return waiter
  }

  #add(connection: C): void {
    const member = memberOf(connection)
    this.#members.add(member)
    connection.onLost = Pool.#remover(this.#weak, member)
    if (connection.lost !== null) this.#remove(member)
    else if (this.#disposed !== null) void this.#close(member)
    else void this.#offer(member)
  }

  /** Closes a member that is too old, or asks the server whether it is still there. */
  #check(member: Member<C>): void {
    const now = performance.now()
    if (this.#idle.isOld(member, now)) {
      void this.#close(member)
      return
    }
    this.#move(member, 'checking')
    ping(member.connection).then(
      () => {
        member.aliveAt = performance.now()
        this.#checked(member)
      },
      (error: Error) => {
        this.#doubt(now)
        member.connection.discard(error)
        this.#remove(member)
        this.#changed()
      },
    )
  }

  /**
   * What broke one connection may have broken all that were silent since. SQLAlchemy throws those away; here they are
   * asked, all at once, since a server may have ended one alone. Nobody waits for their answers: who wants a connection
   * has one opened meanwhile.
   */
  #doubt(since: number): void {
    this.#doubtedAt = Math.max(this.#doubtedAt, since)
    for (const other of this.#idle.fromTop()) if (other.aliveAt < since) this.#check(other)
  }

  #checked(member: Member<C>): void {
    if (member.status === 'gone') return
    if (this.#disposed !== null) {
      void this.#close(member)
      return
    }
    this.#move(member, 'idle')
    this.#serve()
  }

  #remove(member: Member<C>): void {
    if (!this.#members.delete(member)) return
    this.#move(member, 'gone')
    member.connection.onLost = null
    this.#changed()
  }

  /** A failing close leaves nothing to be done: the connection is out of the pool either way. */
  async #close(member: Member<C>): Promise<void> {
    this.#members.delete(member)
    this.#move(member, 'gone')
    member.connection.onLost = null
    this.#closing++
    await member.connection.close().catch(() => {})
    this.#closing--
    this.#changed()
  }

  /** One more connection may be opened. */
  #changed(): void {
    if (this.#size === 0) this.#onEmpty?.()
    if (this.#disposed === null && this.#waiters.size > 0) this.#serve()
  }

  /** @param cameAt only a connect that failed later is the cause, or one before that is still to be tried again */
  #timedOut(cameAt: number): PoolTimeoutError {
    const { timeout, limit, advice = ADVICE } = this.#rules
    const { count, failure } = this.#openings
    const { checkedOut, running, waiting } = this.stats()
    const numbers =
      `No connection became free within ${timeout} s: ${checkedOut} of ${limit} are checked out, ${running} run ` +
      `single statements, ${count} are being opened, ${waiting} others wait.`
    if (failure !== null && (failure.at >= cameAt || failure.mayPass)) {
      return new PoolTimeoutError(`${numbers} The last attempt to connect failed: see the cause.`, {
        cause: failure.error,
      })
    }
    return new PoolTimeoutError(`${numbers} ${advice}`)
  }
}

function aborted(signal: AbortSignal): AbortedError {
  return new AbortedError('Stopped waiting for a connection: the signal was aborted', {
    cause: signal.reason,
  })
}
