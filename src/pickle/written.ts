import { PyTuple } from './values.ts'

/** What a pickle has written already, by where its reader keeps it. */
export class Written {
  #length = 0
  readonly #objects = new Map<object, number>()
  /** Tuples and sets that are (part of) a key: there a set is another object, a frozenset. */
  readonly #frozen = new Map<object, number>()
  readonly #strings = new Map<string, number>()
  /** By module, then by name. */
  readonly #globals = new Map<string, Map<string, number>>()

  object(value: object, isKey: boolean): number | undefined {
    return this.#objectsFor(value, isKey).get(value)
  }

  string(text: string): number | undefined {
    return this.#strings.get(text)
  }

  global(module: string, name: string): number | undefined {
    return this.#globals.get(module)?.get(name)
  }

  /** These return the index under which the reader is to keep it. */
  addObject(value: object, isKey: boolean): number {
    this.#objectsFor(value, isKey).set(value, this.#length)
    return this.#length++
  }

  addString(text: string): number {
    this.#strings.set(text, this.#length)
    return this.#length++
  }

  addGlobal(module: string, name: string): number {
    const names = this.#globals.get(module) ?? new Map<string, number>()
    this.#globals.set(module, names.set(name, this.#length))
    return this.#length++
  }

  /** What is not referred to again, but is kept by CPython all the same. */
  addNameless(): number {
    return this.#length++
  }

  #objectsFor(value: object, isKey: boolean): Map<object, number> {
    return isKey && (value instanceof PyTuple || value instanceof Set) ? this.#frozen : this.#objects
  }
}
