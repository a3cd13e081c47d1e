/** What is known of something that wants to be closed, in case it is garbage-collected before. */
export interface Trace {
  readonly what: 'session' | 'work' | 'connection' | 'stream' | 'engine'
  /** What it is called, where it has a name. */
  readonly name?: string
  /** `null` for what a callback is given: a stack would take longer than all else about it. */
  readonly origin: Origin | null
  /** It holds nothing that anybody would miss, so nobody is warned. */
  readonly isUnused?: boolean
  /** Gives back what the thing holds. Nothing of a trace may lead to the thing, or it would never be collected. */
  letGo(): void
}

/** Where something was made. */
export interface Origin {
  /** The stack, from the one who called `maker`; it is put into words when it is first read. */
  readonly stack?: string
}

/** Where `maker` was called, from within it. */
export function originOf(maker: object): Origin {
  const origin: Origin = {}
  Error.captureStackTrace(origin, maker as () => unknown)
  return origin
}

/**
 * Should the thing be garbage-collected, a warning says where it was made, and its trace lets go. That begins within a
 * second: most things are closed by then, and putting a stack into words takes longer than all else about a session.
 */
export function watch(thing: object, trace: Trace): void {
  young.set(thing, trace)
  if (young.size > MOST_YOUNG) watchAll()
  if (isWaiting) return
  isWaiting = true
  setTimeout(watchAll, WATCH_AFTER).unref()
}

/** It was closed. */
export function unwatch(thing: object): void {
  if (!young.delete(thing)) unclosed.unregister(thing)
}

const WATCH_AFTER = 1_000
/** Beyond it nobody waits for the timer, which might be a test's and never come. */
const MOST_YOUNG = 1_000

const young = new Map<object, Trace>()
let isWaiting = false

function watchAll(): void {
  isWaiting = false
  for (const [thing, trace] of young) {
    // An unformatted stack refers to the objects whose methods are in it, and these may refer to the tracked one.
    void trace.origin?.stack
    unclosed.register(thing, trace, thing)
  }
  young.clear()
}

const UNCLOSED =
  'was garbage-collected without close(); what it had not committed is rolled back. Use `await using` or call close(). It was'

/** What a warning says, up to where the thing was created. */
const SENTENCES: Readonly<Record<Trace['what'], (name: string) => string>> = {
  session: () => `A session ${UNCLOSED}`,
  work: (name) =>
    `The work of a session on ${name} was garbage-collected before it had settled, so it never will; what was not committed is ` +
    'rolled back. Have nothing inside manager.session() wait for what may never come.',
  connection: () => `A connection ${UNCLOSED}`,
  stream: () =>
    'A stream was garbage-collected before its end; its connection goes back. Loop over it by `for await`, which ends it also ' +
    'where the loop is left, or call its return(). It was',
  engine: (name) =>
    `The engine of ${name} was garbage-collected without dispose(), with its manager; its connections are closed. Keep ` +
    'one SessionManager for as long as the process lives, also across hot reloads (docs/frameworks.md shows how), or call ' +
    'dispose(). The manager was',
}

const unclosed = new FinalizationRegistry<Trace>((trace) => {
  const { what, name = '', origin, isUnused } = trace
  trace.letGo()
  if (isUnused) return
  // Drops the first line, which names an error.
  const made = origin === null ? '' : ` created${origin.stack?.replace(/^.*/, '') || ' somewhere'}`
  process.emitWarning(`${SENTENCES[what](name)}${made}`, {
    code: `DRIZZLE_CELERY_UNCLOSED_${what.toUpperCase()}`,
  })
})
