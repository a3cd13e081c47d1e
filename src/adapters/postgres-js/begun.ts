/** A transaction of a connection. While BEGIN, or the statement that carries it, is under way, all the rest of it waits. */
export class Begun {
  readonly begin: string
  /** How many statements were sent since it began. */
  sent = 0
  /** A statement of it may have changed a schema. */
  changesSchema = false
  /** Names may mean something else until it ends. */
  isPathMoved = false
  #state: 'unsent' | 'beginning' | 'ready' = 'unsent'
  readonly #waiting: (() => void)[] = []

  constructor(begin: string) {
    this.begin = begin
  }

  /** The server has not heard of it. */
  get isUnsent(): boolean {
    return this.#state === 'unsent'
  }

  get isBeginning(): boolean {
    return this.#state === 'beginning'
  }

  /** From now on whatever is to be sent waits for `ready()`. */
  beginning(): void {
    this.#state = 'beginning'
  }

  /** Sends what has waited, in the order in which it came. */
  ready(): void {
    this.#state = 'ready'
    for (const send of this.#waiting.splice(0)) send()
  }

  inTurn<Answer>(send: () => Promise<Answer>): Promise<Answer> {
    if (!this.isBeginning) return send()
    return new Promise((resolve) => this.#waiting.push(() => resolve(send())))
  }
}
