import { performance } from 'node:perf_hooks'
import { setImmediate } from 'node:timers'

/** Milliseconds that synchronous work may go on before timers, sockets and signals are served. */
const LONGEST_WORK = 10

/** When work began that no round of the event loop has interrupted since; `null` behind such a round. */
let began: number | null = null
let nextRound: Promise<void> | null = null

/**
 * Whether synchronous work has gone on for so long that the event loop should be given a round before more of it. What
 * hides synchronous work behind promises, as libSQL does on files, goes from one to the next by microtasks, and nothing
 * else of the process is served until all of it is done. Costs little more than a look at the clock.
 */
export function owesRound(): boolean {
  const now = performance.now()
  if (began !== null) return now - began > LONGEST_WORK
  began = now
  setImmediate(roundOver)
  return false
}

/** Resolves behind the next round of the event loop. All who wait share one round, and go on in the order they came. */
export function round(): Promise<void> {
  nextRound ??= new Promise((resolve) =>
    setImmediate(() => {
      nextRound = null
      roundOver()
      resolve()
    }),
  )
  return nextRound
}

function roundOver(): void {
  began = null
}
