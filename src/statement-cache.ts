import { refuseNul, refuseTransactionControl, type StatementTraits } from './statement.ts'

/** What a connection knows of an SQL text. */
export type KnownText<Traits> = Traits & {
  /** Whether the text is among those the connection keeps prepared. */
  readonly isKept: boolean
}

/** The SQL texts of one connection: the first `size` of them are kept, what is beyond is read anew each time. */
export class StatementCache<Traits extends Pick<StatementTraits, 'controlsTransaction'> = StatementTraits> {
  readonly #size: number
  readonly #read: (sql: string) => Traits
  readonly #texts = new Map<string, KnownText<Traits>>()

  constructor(size: number, read: (sql: string) => Traits) {
    this.#size = size
    this.#read = read
  }

  /** @throws StatementError when the text may not be run */
  look(sql: string): KnownText<Traits> {
    const known = this.#texts.get(sql)
    if (known !== undefined) return known

    refuseNul(sql)
    const traits = this.#read(sql)
    refuseTransactionControl(traits)
    const text = { ...traits, isKept: this.#texts.size < this.#size }
    if (text.isKept) this.#texts.set(sql, text)
    return text
  }
}
