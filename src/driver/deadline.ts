/** The time is up. */
export class TooSlow extends Error {}

/**
 * Calls `stop` once: when the time is up, or the signal is aborted, which it may be already.
 * @param milliseconds `undefined` where there is no deadline
 * @returns what calls it off, and lets go of the timer and of the signal, which may live long
 */
export function stopAfter(
  milliseconds: number | undefined,
  signal: AbortSignal | undefined,
  stop: (isAborted: boolean) => void,
): () => void {
  const over = () => {
    clearTimeout(timer)
    unlisten()
  }
  const stopFor = (isAborted: boolean) => {
    over()
    stop(isAborted)
  }
  const timer = milliseconds === undefined ? undefined : setTimeout(stopFor, milliseconds, false)
  const unlisten = onAbort(signal, () => stopFor(true))
  if (signal?.aborted) stopFor(true)
  return over
}

/**
 * What some work resolves to, unless the time is up or the signal aborted first; the work goes on then.
 * @param reason what to reject with instead
 */
export function unlessStopped<Result>(
  work: Promise<Result>,
  milliseconds: number | undefined,
  signal?: AbortSignal,
  reason: (isAborted: boolean) => Error = (isAborted) => stoppedBy(isAborted, milliseconds, signal),
): Promise<Result> {
  return new Promise((resolve, reject) => {
    const over = stopAfter(milliseconds, signal, (isAborted) => reject(reason(isAborted)))
    work.then(resolve, reject).finally(over)
  })
}

/** What ends an attempt of several steps before its time. */
export interface Deadline {
  /** Rejects with `TooSlow` when the time is up, or when the signal is aborted. */
  readonly stopped: Promise<never>
  /** Lets go of the timer and of the signal, which may live long. */
  over(): void
}

/** To be raced against each step of an attempt that knows no deadline of its own. */
export function deadlineIn(milliseconds: number, signal: AbortSignal | undefined): Deadline {
  let over = () => {}
  const stopped = new Promise<never>((_, reject) => {
    over = stopAfter(milliseconds, signal, (isAborted) => reject(stoppedBy(isAborted, milliseconds, signal)))
  })
  // The attempt may be over before anybody races it.
  stopped.catch(() => {})
  return { stopped, over }
}

function stoppedBy(isAborted: boolean, milliseconds: number | undefined, signal?: AbortSignal): Error {
  if (isAborted) return new Error('The signal was aborted', { cause: signal?.reason })
  return new TooSlow(`There was no answer within ${milliseconds} ms`)
}

interface Listening {
  readonly callbacks: Set<() => void>
  onSignal(): void
}

const listening = new Map<AbortSignal, Listening>()

/**
 * Calls back when a signal is aborted. One listener serves all who share the signal: Node warns of a leak from the
 * eleventh.
 * @returns what takes the callback away again
 */
export function onAbort(signal: AbortSignal | null | undefined, callback: () => void): () => void {
  if (signal == null) return () => {}
  const { callbacks, onSignal } = listening.get(signal) ?? listenTo(signal)
  // A function that is added twice is called twice.
  const own = () => callback()
  callbacks.add(own)
  return () => {
    if (!callbacks.delete(own) || callbacks.size > 0) return
    listening.delete(signal)
    signal.removeEventListener('abort', onSignal)
  }
}

function listenTo(signal: AbortSignal): Listening {
  const callbacks = new Set<() => void>()
  const onSignal = () => {
    for (const callback of callbacks) callback()
  }
  signal.addEventListener('abort', onSignal)
  listening.set(signal, { callbacks, onSignal })
  return { callbacks, onSignal }
}

/** Whether something is still to come. Told by its `then`: a program may have another class in the place of `Promise`. */
export function isPending<Value extends object>(value: Value | Promise<Value>): value is Promise<Value> {
  return 'then' in value
}
