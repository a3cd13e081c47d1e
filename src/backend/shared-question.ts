/** Asks about many things with one question at a time: who asks while one is under way shares the next. */
export class SharedQuestion<Answer> {
  readonly #ask: (ids: string[]) => Promise<Answer>
  #next: { readonly ids: string[]; readonly answer: Promise<Answer> } | null = null
  #last: Promise<void> = Promise.resolve()

  constructor(ask: (ids: string[]) => Promise<Answer>) {
    this.#ask = ask
  }

  /** The answer to the question that asks about this one, too. */
  about(id: string): Promise<Answer> {
    this.#next ??= this.#prepare()
    this.#next.ids.push(id)
    return this.#next.answer
  }

  #prepare(): { readonly ids: string[]; readonly answer: Promise<Answer> } {
    const ids: string[] = []
    const answer = this.#last.then(() => {
      this.#next = null
      return this.#ask(ids)
    })
    const nothing = () => {}
    this.#last = answer.then(nothing, nothing)
    return { ids, answer }
  }
}
