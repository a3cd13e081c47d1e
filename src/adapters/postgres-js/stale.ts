/** The errors of statements that were not run, since a schema change or a DEALLOCATE made their prepared form unusable. */
const stale = new WeakSet<object>()

export function isStale(error: unknown): boolean {
  return typeof error === 'object' && error !== null && stale.has(error)
}

/**
 * postgres.js runs a stale statement again by itself, without regard for what it has sent behind it: when that is stale
 * as well, neither ever settles. It first notes the error in `retried`, and sends no query that is cancelled.
 */
const leaving: PropertyDescriptorMap & ThisType<UntypedQuery> = {
  retried: {
    set(error: object) {
      stale.add(error)
      this.cancelled = true
      this.reject(error)
    },
  },
}

/** Missing from postgres.js's types. */
interface UntypedQuery {
  cancelled: unknown
  reject(error: object): void
}

/** The prototype of postgres.js's queries, and ours over it: a property of each query would make it far slower. */
const prototypes = new WeakMap<object, object>()

export function leaveStaleToUs(query: object): void {
  const theirs: object = Object.getPrototypeOf(query)
  let ours = prototypes.get(theirs)
  if (ours === undefined) {
    ours = Object.create(theirs, leaving) as object
    prototypes.set(theirs, ours)
  }
  Object.setPrototypeOf(query, ours)
}
