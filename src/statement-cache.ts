import { LruMap } from './lru-map.ts'
import { refuseNul, refuseTransactionControl, type StatementTraits } from './statement.ts'

/** What a connection knows of an SQL text. */
export type KnownText<Traits> = Traits & {
  /** Whether the connection was asked about the text before, and still knew it. */
  isRepeated: boolean
}

/** The SQL texts that one connection was asked about last. */
export class StatementCache<Traits extends Pick<StatementTraits, 'controlsTransaction'> = StatementTraits> {
  readonly #read: (sql: string) => Traits
  readonly #texts: LruMap<string, KnownText<Traits>>

  constructor(size: number, read: (sql: string) => Traits) {
    this.#read = read
    this.#texts = new LruMap(size)
  }

  /** @throws StatementError when the text may not be run */
  look(sql: string): Readonly<KnownText<Traits>> {
    const known = this.#texts.get(sql)
    if (known !== undefined) {
      known.isRepeated = true
      return known
    }

    refuseNul(sql)
    const traits = this.#read(sql)
    refuseTransactionControl(traits)
    const text = { ...traits, isRepeated: false }
    this.#texts.set(sql, text)
    return text
  }
}
