import type { Dburi } from '../dburi/types.ts'
import { invalid, toBoolean, toNumber, toWord } from '../options/values.ts'

/** The accepted options of the driver, still as text. */
export class RawOptions<Name extends string> {
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
