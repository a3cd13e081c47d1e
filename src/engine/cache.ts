import { dburiKey } from '../dburi/key.ts'
import { redactDburi } from '../dburi/redact.ts'
import type { Dburi } from '../dburi/types.ts'
import type { DisposeOptions, Engine, EngineOptions } from './engine.ts'

export interface EngineCacheOptions {
  /** @throws DburiError */
  readonly parse: (text: string) => Dburi
  readonly open: (dburi: Dburi, options: EngineOptions) => Promise<Engine>
  /** Beyond it, idle engines that were not used for longest are disposed of. */
  readonly maxEngines: number
}

interface Kept {
  readonly dburiKey: string
  readonly cacheKey: string
  /** What stands in the key for each option. */
  readonly identities: ReadonlyMap<string, string>
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
/** Engines of one dburi that are taken for meant. */
const HANDFUL = 5

/**
 * One engine for each dburi and options. The key is what the dburi means, not how it is written. Concurrent callers share
 * an opening, and one that fails is forgotten.
 */
export class EngineCache {
  readonly #options: EngineCacheOptions
  readonly #kept = new Map<string, Kept>()
  /** Engines that are being disposed of, by the key of their dburi. */
  readonly #closing = new Map<Promise<void>, { readonly dburiKey: string; readonly isExclusive: boolean }>()
  /** The same, by the text they were asked for without options: the quick way to a known engine. */
  readonly #byText = new Map<string, Kept>()
  /** Those that have the same dburi, by its key. */
  readonly #siblings = new Map<string, Set<Kept>>()
  /** The keys of dburis whose many engines were told of. */
  readonly #warnedOf = new Set<string>()
  readonly #identities = new WeakMap<object, number>()
  #lastIdentity = 0

  constructor(options: EngineCacheOptions) {
    this.#options = options
  }

  get size(): number {
    return this.#kept.size
  }

  /**
   * Engines that differ only in `statementTimeout`, `logger` or `slowStatement` share one pool.
   * @throws DburiError
   */
  get(text: string, options: EngineOptions | undefined): Promise<Engine> {
    const { statementTimeout, logger, slowStatement, ...others } = options ?? {}
    if (statementTimeout === undefined && logger === undefined && slowStatement === undefined)
      return this.#keptFor(text, options).engine
    const { engine } = this.#keptFor(text, Object.keys(others).length === 0 ? undefined : others)
    return engine.then((opened) => opened.within({ statementTimeout, logger, slowStatement }))
  }

  /** The engine of a text that it is known by without options, if it is open. */
  opened(text: string): Engine | null {
    const kept = this.#byText.get(text)
    if (kept === undefined) return null
    kept.usedAt = performance.now()
    return kept.opened
  }

  /** Does something with an engine that is not disposed of for being idle meanwhile. */
  async use<Result>(
    text: string,
    options: EngineOptions | undefined,
    work: (engine: Engine) => Promise<Result>,
  ): Promise<Result> {
    const kept = this.#keptFor(text, options)
    kept.users++
    try {
      return await work(await kept.engine)
    } finally {
      kept.users--
    }
  }

  /** The same for texts that mean the same dburi. @throws DburiError */
  keyOf(text: string): string {
    return this.#byText.get(text)?.dburiKey ?? dburiKey(this.#options.parse(text))
  }

  #keptFor(text: string, options: EngineOptions | undefined): Kept {
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
    const key = this.keyOf(text)
    await Promise.all([...(this.#siblings.get(key) ?? [])].map((kept) => this.#dispose(kept, options)))
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
    const dburi = this.#options.parse(text)
    const key = dburiKey(dburi)
    const identities = this.#identitiesOf(options)
    const cacheKey = `${key} ${[...identities].map((each) => each.join('=')).join('&')}`
    const known = this.#kept.get(cacheKey)
    if (known !== undefined) return known
    const kept = this.#open(dburi, options, { dburiKey: key, cacheKey, identities })
    this.#tellOfMany(dburi, key)
    this.#evict(kept)
    return kept
  }

  #open(dburi: Dburi, options: EngineOptions, as: Pick<Kept, 'dburiKey' | 'cacheKey' | 'identities'>): Kept {
    const { dburiKey: key, cacheKey } = as
    const inTheWay = [...this.#closing.values()].some((other) => other.isExclusive && other.dburiKey === key)
    const engine = inTheWay
      ? this.#closed((other) => other.dburiKey === key).then(() => this.#options.open(dburi, options))
      : this.#options.open(dburi, options)
    const kept: Kept = { ...as, engine, opened: null, usedAt: performance.now(), users: 0, texts: [] }
    this.#kept.set(cacheKey, kept)
    const siblings = this.#siblings.get(key) ?? new Set()
    this.#siblings.set(key, siblings.add(kept))
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
    return kept
  }

  /** A failed opening has nothing to dispose of, and its callers have the error. */
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

  /** Resolves when the engines that are being disposed of are closed; errors go to the caller of their `dispose()`. */
  async #closed(isMeant: (closing: { readonly dburiKey: string }) => boolean): Promise<void> {
    const meant = [...this.#closing].filter(([, closing]) => isMeant(closing))
    await Promise.allSettled(meant.map(([disposed]) => disposed))
  }

  #drop(kept: Kept): void {
    if (this.#kept.get(kept.cacheKey) === kept) this.#kept.delete(kept.cacheKey)
    const siblings = this.#siblings.get(kept.dburiKey)
    siblings?.delete(kept)
    if (siblings?.size === 0) this.#siblings.delete(kept.dburiKey)
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

  /** An option written anew for each call opens an engine for each call. */
  #tellOfMany(dburi: Dburi, key: string): void {
    const siblings = [...(this.#siblings.get(key) ?? [])]
    if (siblings.length <= HANDFUL || this.#warnedOf.has(key)) return
    this.#warnedOf.add(key)
    const names = new Set(siblings.flatMap(({ identities }) => [...identities.keys()]))
    const differing = [...names].filter(
      (name) => new Set(siblings.map(({ identities }) => identities.get(name))).size > 1,
    )
    const isKeyable = differing.includes('password') || differing.includes('onConnect')
    const instead = isKeyable
      ? 'A function counts by its identity: give the same one each time, or the same engineKey. '
      : ''
    process.emitWarning(
      `There are ${siblings.length} engines of ${redactDburi(dburi)}, each with connections of its own, because calls differ ` +
        `in ${differing.join(' and ')}. ${instead}Calls that give the same options share one engine; maxEngines of the ` +
        'manager limits how many are kept.',
      { code: 'DRIZZLE_CELERY_MANY_ENGINES' },
    )
  }

  /**
   * What stands for each option in the key, in order: the same for options that say the same. Functions and objects count
   * by identity, unless an `engineKey` stands for that.
   */
  #identitiesOf(options: EngineOptions): ReadonlyMap<string, string> {
    const isKeyed = options.engineKey !== undefined
    const given = Object.entries(options).filter(([, value]) => value !== undefined)
    given.sort(([one], [other]) => (one < other ? -1 : 1))
    return new Map(
      given.map(([name, value]) => [name, isKeyed && isFunction(value) ? '#' : this.#identify(value)]),
    )
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

function isFunction(value: unknown): boolean {
  return typeof value === 'function'
}
