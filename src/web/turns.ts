import { PageError } from './errors.ts'

/** Pages that ask the database at once, and others that may wait for them. */
const AT_ONCE = 8
const WAITING = 64

/** Bounds what all visitors together ask of the database. */
export class Turns {
  readonly #timeout: number
  readonly #waiting = new Set<Turn>()
  #running = 0

  /** @param timeout seconds */
  constructor(timeout: number) {
    this.#timeout = timeout
  }

  /**
   * The result of `work` once it is its turn. A visitor does not wait longer than the timeout; a statement that has begun then
   * goes on, and its turn with it.
   * @throws PageError, and what `work` throws
   */
  async take<Result>(work: () => Promise<Result>): Promise<Result> {
    if (this.#waiting.size >= WAITING) throw busy()
    const turn = this.#turn()
    const taken = turn.begun.then(work).finally(() => this.#leave())
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(tooLate(this.#timeout)), this.#timeout * 1_000)
    })
    try {
      return await Promise.race([taken, late])
    } finally {
      clearTimeout(timer)
      this.#waiting.delete(turn)
      // Nobody waits for it any more.
      taken.catch(() => {})
    }
  }

  #turn(): Turn {
    let begin = () => {}
    const begun = new Promise<void>((resolve) => {
      begin = resolve
    })
    const turn = { begin, begun }
    if (this.#running < AT_ONCE) {
      this.#running++
      begin()
    } else this.#waiting.add(turn)
    return turn
  }

  /** Hands the turn on. */
  #leave(): void {
    const [next] = this.#waiting
    if (next === undefined) {
      this.#running--
      return
    }
    this.#waiting.delete(next)
    next.begin()
  }
}

interface Turn {
  readonly begun: Promise<void>
  begin(): void
}

/** What is known within so many milliseconds; `null` where it is not, or cannot be. */
export async function soon<Value>(
  value: Promise<Value>,
  milliseconds: number,
  onError: (error: unknown) => void,
): Promise<Value | null> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<null>((resolve) => {
    timer = setTimeout(() => resolve(null), milliseconds)
  })
  const known = value.catch((error: unknown) => {
    onError(error)
    return null
  })
  return Promise.race([known, late]).finally(() => clearTimeout(timer))
}

/** What `ask` gives within so many milliseconds; else what it gave last, `null` where it never did. */
export function latest<Value>(
  ask: () => Promise<Value>,
  onError: (error: unknown) => void,
): (milliseconds: number) => Promise<Value | null> {
  let last: Value | null = null
  return async (milliseconds) => {
    const asked = ask().then((value) => {
      last = value
      return value
    })
    return (await soon(asked, milliseconds, onError)) ?? last
  }
}

function busy(): PageError {
  return new PageError(503, 'Too many ask at once', 'Try again in a moment.', { 'retry-after': '5' })
}

function tooLate(seconds: number): PageError {
  return new PageError(
    504,
    'The database takes too long',
    `There was no answer within ${seconds} s. A filter by state, name, worker or queue wants the indexes of a dashboard ` +
      'in large tables: drizzle-celery prepare DBURI --upgrade --dashboard.',
  )
}
