/** Whether an id can be a row's at all: to ask PostgreSQL for one with NUL, or half a surrogate pair, is an error. */
export function isStorable(id: string): boolean {
  return !UNSTORABLE.test(id)
}

const UNSTORABLE = /[\0\p{Surrogate}]/u
