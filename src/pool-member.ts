import { deadlineIn } from './deadline.ts'

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
  const deadline = deadlineIn(PING_TIMEOUT, undefined)
  await Promise.race([connection.ping(), deadline.stopped]).finally(() => deadline.over())
}
