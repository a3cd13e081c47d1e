import { setTimeout as sleep } from 'node:timers/promises'

/**
 * Milliseconds from one look at a lock to the next on average, whoever looks. With the timer and all around it a look takes
 * 0.3 to 0.6 ms of a core, so that those at locks that are kept take less than a tenth.
 */
const SPACING = { passing: 2.5, kept: 8 }

/** How many pause now, whatever file they wait for. */
let pausing = 0

/**
 * Pauses between two looks at a lock that others hold; longer the more wait in this process, so that the looks of all together
 * take a small share of a core. Of random length: who waits beside one that takes and leaves the lock in a rhythm is
 * not always to look in between. Ends at the deadline at the latest, and when the signal aborts.
 */
export async function pause(
  lock: keyof typeof SPACING,
  deadline: number,
  signal: AbortSignal,
): Promise<void> {
  pausing++
  const milliseconds = SPACING[lock] * pausing * (0.5 + Math.random())
  const rest = Math.max(0, deadline - performance.now())
  await sleep(Math.min(milliseconds, rest), undefined, { signal }).catch(() => {})
  pausing--
}
