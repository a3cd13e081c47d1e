import { unlessStopped } from '../driver/deadline.ts'
import { LONGEST_TIMEOUT } from '../options/pool.ts'
import type { PoolRules } from './pool-rules.ts'

/** What a pool asks of the things it keeps. */
export interface Poolable {
  ping(): Promise<void>
  close(): Promise<void>
  discard(reason: Error): void
  readonly lost: Error | null
  readonly tainted: boolean
  onLost: (() => void) | null
}

/** `leased` to a holder, `running` a single statement, `checking` by a ping, `gone` from the pool. */
export type Status = 'idle' | 'leased' | 'running' | 'checking' | 'gone'

/** A connection in a pool. Nothing in it leads to the pool, which is known by that to be forgotten. */
export interface Member<C> {
  readonly connection: C
  readonly openedAt: number
  /** When the server last gave a sign of life. */
  aliveAt: number
  status: Status
  /** Single statements that run on it. */
  running: number
  /** It was handed out before. */
  isUsed: boolean
  /** It is closed when it is returned. */
  isDoomed: boolean
}

export function memberOf<C>(connection: C): Member<C> {
  const now = performance.now()
  return {
    connection,
    openedAt: now,
    aliveAt: now,
    status: 'gone',
    running: 0,
    isUsed: false,
    isDoomed: false,
  }
}

const PING_TIMEOUT = 1_000

/** Asks for a sign of life. @throws what the connection throws, and an error when there is no answer within a second */
export async function ping(connection: Poolable): Promise<void> {
  await unlessStopped(connection.ping(), PING_TIMEOUT)
}

type IdleRules = Pick<PoolRules, 'idleTimeout' | 'recycle'>

/**
 * The idle connections of a pool, the one returned last on top, so that spare ones sink to the bottom. Each is closed
 * when it was idle for too long or is too old. One timer serves all; it keeps neither the process nor the pool alive.
 */
export class IdleStack<C> {
  readonly #rules: IdleRules
  readonly #close: (member: Member<C>) => void
  readonly #members: Member<C>[] = []
  #timer: NodeJS.Timeout | null = null
  /** When it fires; a member that was used meanwhile is then left alone. */
  #timerAt = Number.POSITIVE_INFINITY

  /** @param close takes a member off the stack and closes it */
  constructor(rules: IdleRules, close: (member: Member<C>) => void) {
    this.#rules = rules
    this.#close = close
  }

  get size(): number {
    return this.#members.length
  }

  get bottom(): Member<C> | undefined {
    return this.#members[0]
  }

  /** All of them from the top; they may be moved meanwhile. */
  fromTop(): Member<C>[] {
    return this.#members.toReversed()
  }

  /** The uppermost that fits. */
  find(isFit: (member: Member<C>) => boolean): Member<C> | undefined {
    return this.#members.findLast(isFit)
  }

  push(member: Member<C>): void {
    this.#members.push(member)
    this.#expireAt(this.#dueAt(member))
  }

  remove(member: Member<C>): void {
    if (this.#members.at(-1) === member) this.#members.pop()
    else this.#members.splice(this.#members.indexOf(member), 1)
  }

  isOld({ openedAt }: Member<C>, now: number): boolean {
    const { recycle } = this.#rules
    return recycle >= 0 && now - openedAt > recycle * 1_000
  }

  /** Closes none of them any more. */
  stop(): void {
    clearTimeout(this.#timer ?? undefined)
    this.#timerAt = Number.NEGATIVE_INFINITY
  }

  #dueAt({ openedAt, aliveAt }: Member<C>): number {
    const { idleTimeout, recycle } = this.#rules
    return Math.min(
      idleTimeout > 0 ? aliveAt + idleTimeout * 1_000 : Number.POSITIVE_INFINITY,
      recycle >= 0 ? openedAt + recycle * 1_000 : Number.POSITIVE_INFINITY,
    )
  }

  #expireAt(time: number): void {
    if (time >= this.#timerAt) return
    clearTimeout(this.#timer ?? undefined)
    this.#timerAt = time
    const wait = Math.ceil(time - performance.now())
    this.#timer = IdleStack.#later(new WeakRef(this), Math.min(Math.max(1, wait), LONGEST_TIMEOUT * 1_000))
  }

  #expire(): void {
    this.#timerAt = Number.POSITIVE_INFINITY
    const now = performance.now()
    for (const member of this.fromTop()) {
      const due = this.#dueAt(member)
      if (due <= now) this.#close(member)
      else this.#expireAt(due)
    }
  }

  /** Made where nothing leads to the stack: closures keep what their neighbours use. */
  static #later<C>(stack: WeakRef<IdleStack<C>>, wait: number): NodeJS.Timeout {
    const look = () => {
      const kept = stack.deref()
      if (kept !== undefined) kept.#expire()
    }
    return setTimeout(look, wait).unref()
  }
}
