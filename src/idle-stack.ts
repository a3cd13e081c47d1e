import type { Member } from './pool-member.ts'
import { LONGEST_TIMEOUT } from './pool-options.ts'
import type { PoolRules } from './pool-rules.ts'

type IdleRules = Pick<PoolRules, 'idleTimeout' | 'recycle'>

/**
 * The idle members of a pool, the one returned last on top, so that those nobody needs sink to the bottom. Each is closed
 * when it was idle for too long or is too old. One timer serves all; it keeps neither the process nor the pool alive.
 */
export class IdleStack<C> {
  readonly #rules: IdleRules
  readonly #close: (member: Member<C>) => void
  readonly #members: Member<C>[] = []
  #timer: NodeJS.Timeout | null = null
  /** When it fires; whoever is used meanwhile is left alone then. */
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
    this.#lookAt(this.#dueAt(member))
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

  #lookAt(time: number): void {
    if (time >= this.#timerAt) return
    clearTimeout(this.#timer ?? undefined)
    this.#timerAt = time
    const wait = Math.ceil(time - performance.now())
    this.#timer = IdleStack.#later(new WeakRef(this), Math.min(Math.max(1, wait), LONGEST_TIMEOUT * 1_000))
  }

  #look(): void {
    this.#timerAt = Number.POSITIVE_INFINITY
    const now = performance.now()
    for (const member of this.fromTop()) {
      const due = this.#dueAt(member)
      if (due <= now) this.#close(member)
      else this.#lookAt(due)
    }
  }

  /** Made where nothing leads to the stack: closures keep what their neighbours use. */
  static #later<C>(stack: WeakRef<IdleStack<C>>, wait: number): NodeJS.Timeout {
    const look = () => {
      const kept = stack.deref()
      if (kept !== undefined) kept.#look()
    }
    return setTimeout(look, wait).unref()
  }
}
