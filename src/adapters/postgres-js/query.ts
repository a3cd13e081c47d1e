/** What postgres.js's types do not show of its queries. */
interface UntypedQuery {
  cancelled: unknown
  reject(error: object): void
}

/** The errors of statements that were not run, since a schema change or a DEALLOCATE made their prepared form unusable. */
const stale = new WeakSet<object>()

export function isStale(error: unknown): boolean {
  return typeof error === 'object' && error !== null && stale.has(error)
}

/** Queries of whose text postgres.js is to forget what it has prepared, when it builds them. */
const parsedAnew = new WeakSet<object>()

const ownBehaviour: PropertyDescriptorMap & ThisType<UntypedQuery> = {
  /**
   * postgres.js runs a stale statement again by itself, without regard for what it has sent behind it: when that is stale
   * as well, neither ever settles. It first notes the error in `retried`, and sends no query that is cancelled.
   */
  retried: {
    set(error: object) {
      stale.add(error)
      this.cancelled = true
      this.reject(error)
    },
  },
  /**
   * postgres.js waits to be told the types of parameters before it sends them, a round trip during which nothing else is
   * sent. Ours are text already, whatever their types are.
   */
  describeFirst: { get: () => false, set: () => {} },
  /** Asked first when a query is built: for `true` postgres.js forgets the statement it has of that text. */
  onlyDescribe: {
    get() {
      return parsedAnew.delete(this)
    },
  },
}

/**
 * The prototype of postgres.js's queries, and ours over it. One for all of ours: properties of each query, or several
 * prototypes, would make the driver far slower.
 */
const prototypes = new WeakMap<object, object>()

/**
 * For a query with parameters, before it is sent.
 * @param isParsedAnew Have postgres.js forget what is prepared of its text; the server keeps that until it is told
 */
export function adopt(query: object, isParsedAnew: boolean): void {
  const theirs: object = Object.getPrototypeOf(query)
  let ours = prototypes.get(theirs)
  if (ours === undefined) {
    ours = Object.create(theirs, ownBehaviour) as object
    prototypes.set(theirs, ours)
  }
  Object.setPrototypeOf(query, ours)
  if (isParsedAnew) parsedAnew.add(query)
}

/** The server's side of a query, which postgres.js's types do not show. */
export interface Described {
  readonly statement?: { readonly name: string; readonly columns?: unknown } | null
}

/** What the server calls the statement of a query; `null` if it could not parse it. */
export function statementNameOf({ statement }: Described): string | null {
  return statement?.columns == null ? null : statement.name
}
