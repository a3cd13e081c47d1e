import type { Dburi } from '../dburi/types.ts'
import { invalid, toBoolean, toNumber, toWord } from '../options/values.ts'
import type { AdapterOptions } from './types.ts'

/** The accepted options of the driver, still as text. */
export class RawOptions<Name extends string> {
  readonly #texts = new Map<Name, string>()

  /** Notes an option; a later one of the same name wins. */
  add(name: Name, text: string): void {
    this.#texts.set(name, text)
  }

  /**
   * Notes an option that may have several spellings.
   * @param spelling as it was written
   * @throws OptionError where it was given before
   */
  addOnce(name: Name, text: string, spelling: string): void {
    if (this.#texts.has(name)) throw invalid(spelling, 'given once')
    this.#texts.set(name, text)
  }

  /** The option as it was written; `null` if it is missing. */
  text(name: Name): string | null {
    return this.#texts.get(name) ?? null
  }

  /** @throws OptionError unless it is one of SQLAlchemy's words for true and false */
  boolean(name: Name): boolean | null {
    const text = this.text(name)
    return text === null ? null : toBoolean(name, text)
  }

  /** @throws OptionError unless it is one of `words` */
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

/** Arguments that repeat parts of the dburi: the parser has read them, and they must not say anything else. */
export const REPEATED_PARTS: ReadonlyMap<
  string,
  (dburi: Dburi, value: string | readonly string[]) => boolean
> = new Map([
  ['user', (dburi, value) => dburi.user === value],
  ['password', (dburi, value) => dburi.password === value],
  ['passwd', (dburi, value) => dburi.password === value],
  ['dbname', (dburi, value) => dburi.database === value],
  ['db', (dburi, value) => dburi.database === value],
  ['database', (dburi, value) => dburi.database === value],
  ['host', (dburi, value) => isWithin(hostNames(dburi), value)],
  ['port', (dburi, value) => isWithin(portNames(dburi), value)],
])

function hostNames(dburi: Dburi): ReadonlySet<string> {
  const hosts = dburi.hosts ?? [{ host: dburi.host ?? '', port: dburi.port }]
  const names = hosts.flatMap(({ host, port }) => [host, `[${host}]`, `${host}:${port}`, `[${host}]:${port}`])
  return new Set(
    dburi.socket === undefined ? names : [...names, dburi.socket, `${dburi.socket}:${dburi.port}`],
  )
}

function portNames(dburi: Dburi): ReadonlySet<string> {
  return new Set([dburi.port, ...(dburi.hosts ?? []).map(({ port }) => port)].map((port) => `${port ?? ''}`))
}

function isWithin(names: ReadonlySet<string>, value: string | readonly string[]): boolean {
  return [value].flat().every((text) => text.split(',').every((name) => names.has(name)))
}

/** What asks for the password of each connection: the program's, or else the dburi's. */
export function passwordOf(
  plan: { password(): string | null },
  { password }: Pick<AdapterOptions, 'password'>,
): () => Promise<string | null> {
  if (password === undefined) return async () => plan.password()
  return async () => (typeof password === 'function' ? password() : password)
}
