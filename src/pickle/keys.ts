import { isDict } from './dicts.ts'
import type { Limits } from './limits.ts'
import type { Reader } from './reader.ts'
import { PyTuple } from './values.ts'

/**
 * What becomes a key of a dict or a member of a set. V8 looks for a bigint by its lowest 64 bits, without a secret: of
 * those that a pickle makes collide, each is compared with all before, so that their number is limited.
 */
export class Keys {
  readonly #reader: Reader
  readonly #limit: number
  #bigints = 0

  constructor(reader: Reader, { maxBigKeys }: Limits) {
    this.#reader = reader
    this.#limit = maxBigKeys
  }

  /**
   * Whether Python would take it, which is when it can be hashed.
   * @throws PickleError `PICKLE_LIMIT`
   */
  accepts(key: unknown): boolean {
    if (typeof key === 'bigint') this.#count(key)
    if (typeof key !== 'object' || key === null) return true
    return Array.isArray(key) ? key instanceof PyTuple : !isDict(key)
  }

  #count(key: bigint): void {
    // To make a longer one collide takes no skill at all, and to compare it longer.
    this.#bigints += BigInt.asIntN(65, key) === key ? 1 : 2
    if (this.#bigints <= this.#limit) return
    const reason = `more keys that are bigints than maxBigKeys, ${this.#limit}`
    throw this.#reader.error('PICKLE_LIMIT', reason, 'maxBigKeys')
  }
}
