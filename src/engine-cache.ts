import { type Dburi, parseDburi } from './dburi.ts'
import { dburiKey } from './dburi-key.ts'
import { registeredSchemes } from './dialect-resolver.ts'
import type { DisposeOptions, Engine, EngineOptions } from './engine.ts'

export interface EngineCacheOptions {
  readonly open: (dburi: Dburi, options: EngineOptions) => Promise<Engine>
  /** Beyond it, idle engines that were not used for longest are disposed of. */
  readonly maxEngines: number
}

interface Kept {
  readonly dburiKey: string
  readonly cacheKey: string
  readonly engine: Promise<Engine>
  /** The engine once it is open. */
  opened: Engine | null
  usedAt: number
  /** Those who are about to use it, and are not seen in its pool yet. */
  users: number
  /** Texts by which it is found without being parsed, those that came last. */
  readonly texts: string[]
}

/** A program writes one dburi in a few ways. What comes in ever new spellings is parsed each time, and not remembered for ever. */
const MOST_TEXTS = 16

/**
 * One engine for each dburi and options. The key is what the dburi means, not how it is spelled; an opening is shared
 * by all who ask meanwhile, and forgotten when it fails.
 */
export class EngineCache {
  readonly #options: EngineCacheOptions
  readonly #kept = new Map<string, Kept>()
  /** Engines that are being disposed of, by the key of their dburi. */
  readonly #closing = new Map<Promise<void>, { readonly dburiKey: string; readonly isExclusive: boolean }>()
  /** The same, by the text they were asked for without options: the quick way to a known engine. */
  readonly #byText = new Map<string, Kept>()
  readonly #identities = new WeakMap<object, number>()
  #lastIdentity = 0

  constructor(options: EngineCacheOptions) {
    this.#options = options
  }

  get size(): number {
    return this.#kept.size
  }

  /**
   * The deadline of statements makes no other database of it: engines that differ in it share all but that.
   * @throws DburiError
   */
  get(text: string, options: EngineOptions | undefined): Promise<Engine> {
    if (options?.statementTimeout === undefined) return this.#look(text, options).engine
    const { statementTimeout, ...others } = options
    const { engine } = this.#look(text, Object.keys(others).length === 0 ? undefined : others)
    return engine.then((opened) => opened.within(statementTimeout))
  }

  /** Does something with an engine that is not disposed of for being idle meanwhile. */
  async use<Result>(
    text: string,
    options: EngineOptions | undefined,
    work: (engine: Engine) => Promise<Result>,
  ): Promise<Result> {
    const kept = this.#look(text, options)
    kept.users++
    try {
      return await work(await kept.engine)
    } finally {
      kept.users--
    }
  }

  #look(text: string, options: EngineOptions | undefined): Kept {
    const known = options === undefined ? this.#byText.get(text) : undefined
    const kept = known ?? this.#find(text, options ?? {})
    if (known === undefined && options === undefined) this.#remember(text, kept)
    kept.usedAt = performance.now()
    return kept
  }

  #remember(text: string, kept: Kept): void {
    this.#byText.set(text, kept)
    kept.texts.push(text)
    if (kept.texts.length <= MOST_TEXTS) return
    const [oldest = text] = kept.texts.splice(0, 1)
    this.#byText.delete(oldest)
  }

  /** Forgets and disposes of all engines of a dburi. */
  async forget(text: string, options?: DisposeOptions): Promise<void> {
    const key = dburiKey(parseDburi(text, registeredSchemes()))
    await Promise.all(
      [...this.#kept.values()]
        .filter((kept) => kept.dburiKey === key)
        .map((kept) => this.#dispose(kept, options)),
    )
    await this.#closed(({ dburiKey }) => dburiKey === key)
  }

  async forgetAll(options?: DisposeOptions): Promise<void> {
    await Promise.all([...this.#kept.values()].map((kept) => this.#dispose(kept, options)))
    await this.#closed(() => true)
  }

  /** The engines that are open. */
  engines(): Engine[] {
    return [...this.#kept.values()].flatMap(({ opened }) => (opened === null ? [] : [opened]))
  }

  #find(text: string, options: EngineOptions): Kept {
    const dburi = parseDburi(text, registeredSchemes())
    const key = dburiKey(dburi)
    const cacheKey = `${key} ${this.#keyOf(options)}`
    return this.#kept.get(cacheKey) ?? this.#open(dburi, options, key, cacheKey)
  }

  #open(dburi: Dburi, options: EngineOptions, key: string, cacheKey: string): Kept {
    const inTheWay = [...this.#closing.values()].some((other) => other.isExclusive && other.dburiKey === key)
    const engine = inTheWay
      ? this.#closed((other) => other.dburiKey === key).then(() => this.#options.open(dburi, options))
      : this.#options.open(dburi, options)
    const kept: Kept = {
      dburiKey: key,
      cacheKey,
      engine,
      opened: null,
      usedAt: performance.now(),
      users: 0,
      texts: [],
    }
    this.#kept.set(cacheKey, kept)
    engine.then(
      (opened) => {
        kept.opened = opened
        if (opened.isDisposed) this.#drop(kept)
        opened.onDispose = (disposed) => {
          this.#drop(kept)
          this.#track(disposed, { dburiKey: kept.dburiKey, isExclusive: opened.isExclusive })
        }
      },
      () => this.#drop(kept),
    )
    this.#evict(kept)
    return kept
  }

  /** A failed opening has nothing to dispose of, and whoever asked for it was told. */
  async #dispose(kept: Kept, options?: DisposeOptions): Promise<void> {
    this.#drop(kept)
    const engine = await kept.engine.catch(() => null)
    await engine?.dispose(options)
  }

  #track(disposed: Promise<void>, closing: { dburiKey: string; isExclusive: boolean }): void {
    this.#closing.set(disposed, closing)
    const done = () => void this.#closing.delete(disposed)
    disposed.then(done, done)
  }

  /** Resolves when the engines that are being disposed of are closed. How that went is told to who asked for it. */
  async #closed(isMeant: (closing: { readonly dburiKey: string }) => boolean): Promise<void> {
    const meant = [...this.#closing].filter(([, closing]) => isMeant(closing))
    await Promise.allSettled(meant.map(([disposed]) => disposed))
  }

  #drop(kept: Kept): void {
    if (this.#kept.get(kept.cacheKey) === kept) this.#kept.delete(kept.cacheKey)
    for (const text of kept.texts.splice(0)) this.#byText.delete(text)
  }

  #evict(newest: Kept): void {
    const surplus = this.#kept.size - this.#options.maxEngines
    if (surplus <= 0) return
    const idle = [...this.#kept.values()].filter(
      (kept) => kept !== newest && kept.users === 0 && kept.opened?.isIdle,
    )
    idle.sort((one, other) => one.usedAt - other.usedAt)
    for (const kept of idle.slice(0, surplus)) void this.#dispose(kept)
  }

  /** Options that say the same give the same key; functions and objects count by identity. */
  #keyOf(options: EngineOptions): string {
    return Object.entries(options)
      .filter(([, value]) => value !== undefined)
      .sort(([one], [other]) => (one < other ? -1 : 1))
      .map(([name, value]) => `${name}=${this.#identify(value)}`)
      .join('&')
  }

  #identify(value: unknown): string {
    if (typeof value !== 'function' && (typeof value !== 'object' || value === null))
      return JSON.stringify(value)
    let identity = this.#identities.get(value)
    if (identity === undefined) {
      identity = ++this.#lastIdentity
      this.#identities.set(value, identity)
    }
    return `#${identity}`
  }
}
