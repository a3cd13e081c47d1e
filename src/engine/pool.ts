import { onAbort } from '../driver/deadline.ts'
import { AbortedError, ClosedError, PoolTimeoutError } from '../errors.ts'
import { LONGEST_TIMEOUT } from '../options/pool.ts'
import { IdleStack, type Member, memberOf, type Poolable, ping, type Status } from './idle-stack.ts'
import { Openings } from './openings.ts'
import { ADVICE, type HolderOptions, type Lease, type PoolRules, type PoolStats } from './pool-rules.ts'
import { Waiter, WaitQueue } from './wait-queue.ts'

type Demand = 'lease' | 'ownConnection' | 'statement'

/** What was waited for: a holder sees the lease, and a single statement runs on the member. */
interface Grant<C> extends Lease<C> {
  readonly member: Member<C>
}

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
  readonly #waiters: WaitQueue<Demand, Grant<C>>
  /** How many of them want to hold a connection. */
  #waitingHolders = 0
  #closing = 0
  #timeouts = 0
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
  checkout(options: HolderOptions = {}): Promise<Lease<C>> {
    return this.#acquire(options.ownConnection ? 'ownConnection' : 'lease', options)
  }

  /** The same without a promise, where one is free; `null` where `checkout` has to wait, or refuses. */
  checkoutNow({ ownConnection, signal }: HolderOptions = {}): Lease<C> | null {
    const demand = ownConnection ? 'ownConnection' : 'lease'
    const member = signal?.aborted ? null : this.#takeNow(demand)
    return member === null ? null : this.#grantOf(member, demand, performance.now())
  }

  /** Runs one statement on a connection that nobody holds; beside others of its kind only as far as `pipeline` allows. */
  share<T>(work: (connection: C) => Promise<T>, signal?: AbortSignal): Promise<T> {
    const member = this.#takeNow('statement')
    if (member !== null) return this.#run(member, work)
    return this.#acquire('statement', { signal }).then(({ member }) => this.#run(member, work))
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
      totals: {
        opened: this.#openings.opened,
        closed: this.#openings.opened - this.#members.size - this.#closing,
        timeouts: this.#timeouts,
        ...this.#waiters.totals,
      },
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

  #acquire(demand: Demand, options: HolderOptions): Promise<Grant<C>> {
    if (this.#disposed !== null) return Promise.reject(new ClosedError('engine'))
    const { signal } = options
    if (signal?.aborted) return Promise.reject(aborted(signal))
    const member = this.#takeNow(demand)
    if (member !== null) return Promise.resolve(this.#grantOf(member, demand, performance.now()))
    return new Promise((resolve, reject) => this.#wait(new Waiter(demand, resolve, reject), options))
  }

  /** Few objects for each: there may be 100,000, and collecting what they leave takes longer than queuing them. */
  #wait(waiter: Waiter<Demand, Grant<C>>, { signal, onWait }: HolderOptions): void {
    if (signal !== undefined) this.#leaveBy(signal, waiter)
    this.#waiters.push(waiter)
    if (waiter.demand !== 'statement') this.#waitingHolders++
    if (onWait !== undefined) this.#leaveAtWill(onWait, waiter)
    this.#serve()
  }

  #leaveBy(signal: AbortSignal, waiter: Waiter<Demand, Grant<C>>): void {
    waiter.onLeft = onAbort(signal, () => this.#leave(waiter, aborted(signal)))
  }

  #leaveAtWill(onWait: NonNullable<HolderOptions['onWait']>, waiter: Waiter<Demand, Grant<C>>): void {
    onWait((reason) => this.#leave(waiter, reason))
  }

  #leave(waiter: Waiter<Demand, Grant<C>>, reason: Error): void {
    if (!waiter.isQueued) return
    this.#dismiss(waiter, reason)
    this.#serve()
  }

  #grantOf(member: Member<C>, demand: Demand, askedAt: number): Grant<C> {
    if (demand === 'ownConnection') member.isDoomed = true
    let released: Promise<void> | null = null
    return {
      member,
      connection: member.connection,
      askedAt,
      release: () => {
        released ??= this.#returned(member)
        return released
      },
    }
  }

  #leftQueue(waiter: Waiter<Demand, Grant<C>>): void {
    this.#waiters.remove(waiter)
    if (waiter.demand !== 'statement') this.#waitingHolders--
  }

  #grant(waiter: Waiter<Demand, Grant<C>>, member: Member<C>): void {
    this.#leftQueue(waiter)
    this.#take(member, waiter.demand)
    waiter.resolve(this.#grantOf(member, waiter.demand, waiter.cameAt))
  }

  #dismiss(waiter: Waiter<Demand, Grant<C>>, error: Error): void {
    this.#leftQueue(waiter)
    waiter.reject(error)
  }

  /** Hands out a member past the queue, if nobody is in it; `null` if there is none. */
  #takeNow(demand: Demand): Member<C> | null {
    const member = this.#waiters.size === 0 && this.#disposed === null ? this.#available(demand) : null
    if (member !== null) this.#take(member, demand)
    return member
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
    // Not awaited: the caller of the work must not wait for it.
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
    // The caller of the statement that was just answered may send its next one at once.
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
      // A waiter for a new connection does not block waiters for those that are there.
      else if (each.demand !== 'ownConnection' || beingOpened-- <= 0) break
    }
    const waiter = this.#waiters.first
    if (waiter === null) return

    // Last in, first out: the others stay idle and are closed after `idleTimeout`.
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

  #mayOpen(first: Waiter<Demand, Grant<C>>): boolean {
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
    // The connection that is being opened will serve it.
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
  #miss(waiter: Waiter<Demand, Grant<C>>, error: Error): void {
    if (!this.#openings.failure?.mayPass) this.#dismiss(waiter, error)
    else if (performance.now() >= waiter.cameAt + this.#rules.timeout * 1_000)
      this.#dismiss(waiter, this.#timedOut(waiter.cameAt))
  }

  /** The waiters that reject when no connection could be opened: single statements can still use those that are there. */
  #firstInNeed(): Waiter<Demand, Grant<C>> | null {
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
   * What broke one connection may have broken all idle ones. SQLAlchemy throws those away; here they are pinged, all at
   * once, since a server may have ended one alone. Nobody waits for the answers: a new connection is opened meanwhile.
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
    this.#timeouts++
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

function aborted({ reason: cause }: AbortSignal): AbortedError {
  return new AbortedError('Stopped waiting for a connection: the signal was aborted', { cause })
}
