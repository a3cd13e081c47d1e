import { refuseNul, refuseTransactionControl, type StatementTraits, traitsOf } from './statement.ts'

/** What a connection knows of an SQL text. */
export interface KnownText extends StatementTraits {
  /** Whether the text is among those the connection keeps prepared. */
  readonly isKept: boolean
}

/** The SQL texts of one connection: the first `size` of them are kept, what is beyond is read anew each time. */
export class StatementCache {
  readonly #size: number
  readonly #texts = new Map<string, KnownText>()

  constructor(size: number) {
    this.#size = size
  }

  /** @throws StatementError when the text may not be run */
  look(sql: string): KnownText {
    const known = this.#texts.get(sql)
    if (known !== undefined) return known

    refuseNul(sql)
    const traits = traitsOf(sql)
    refuseTransactionControl(traits)
    const text = { ...traits, isKept: this.#texts.size < this.#size }
    if (text.isKept) this.#texts.set(sql, text)
    return text
  }
}
