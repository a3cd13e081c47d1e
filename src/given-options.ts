import { invalid, toBoolean, toNumber, toWord } from './option-text.ts'

/** The accepted options of the driver, still as text. */
export class GivenOptions<Name extends string> {
  readonly #texts = new Map<Name, string>()

  add(name: Name, text: string): void {
    this.#texts.set(name, text)
  }

  text(name: Name): string | null {
    return this.#texts.get(name) ?? null
  }

  boolean(name: Name): boolean | null {
    const text = this.text(name)
    return text === null ? null : toBoolean(name, text)
  }

  word<Word extends string>(name: Name, words: readonly Word[]): Word | null {
    const text = this.text(name)
    return text === null ? null : toWord(name, text, words)
  }

  /** libpq waits for ever at 0; nothing here does, and a timer of Node fires at once beyond 2^31 ms. */
  seconds(name: Name): number | null {
    const text = this.text(name)
    if (text === null) return null

    const seconds = toNumber(name, text)
    if (seconds <= 0 || seconds > 2_147_483) throw invalid(name, 'a number of seconds above 0, up to 2147483')
    return seconds
  }
}
