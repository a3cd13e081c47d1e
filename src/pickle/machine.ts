import type { PickleError } from '../errors.ts'
import { dictOf, isPlainObject, setProperty } from './dicts.ts'
import { modernize } from './globals.ts'
import type { Limits } from './limits.ts'
import { measure, sizeOfText, tooLarge } from './measure.ts'
import { Memo } from './memo.ts'
import type { Reader } from './reader.ts'
import { isHashable, rebuild, reduce } from './reduce.ts'
import { replaceWithin } from './replace.ts'
import { PyException, PyObject, PyTuple } from './values.ts'
import { PyTimeZone } from './zones.ts'

/** The stack and the memo of a pickle that is being read, and what its opcodes do to them. */
export class Machine {
  readonly #reader: Reader
  readonly #limits: Limits
  readonly #stack: unknown[] = []
  /** Where in the stack each mark is. */
  readonly #marks: number[] = []
  /** What is below belongs to the last mark's outside. */
  #floor = 0
  readonly #memo = new Memo()
  #protocol = 0
  #containers = 0
  /** How many containers had another put into them: nothing is deeper than that, and one more. */
  #parents = 0
  /** Whether a container may stand in two places. */
  #isShared = false
  /** The size of the texts and names that were fetched again. */
  #repeated = 0
  /** The later form of a dict that became a Map, of an object that became a text. */
  readonly #later = new Map<object, unknown>()

  constructor(reader: Reader, limits: Limits) {
    this.#reader = reader
    this.#limits = limits
  }

  push(value: unknown): void {
    this.#stack.push(value)
  }

  pushContainer(container: unknown): void {
    if (++this.#containers > this.#limits.maxObjects) throw this.#limit('maxObjects')
    this.#stack.push(container)
  }

  pop(): unknown {
    if (this.#stack.length > this.#floor) return this.#stack.pop()
    // As in CPython: POP also takes a mark away.
    if (this.#marks.length === 0) throw this.#underflow()
    this.#dropMark()
    return undefined
  }

  mark(): void {
    this.#floor = this.#stack.length
    this.#marks.push(this.#floor)
  }

  popMark(): void {
    this.#stack.length = this.#dropMark()
  }

  duplicate(): void {
    const value = this.#top()
    this.#repeat(value)
    this.#stack.push(value)
  }

  protocol(version: number): void {
    if (version > 5) {
      throw this.#reader.error('PICKLE_PROTOCOL', `protocol ${version} is newer than 5`)
    }
    this.#protocol = version
  }

  /** @throws PickleError */
  stop(): unknown {
    const value = this.#take()
    const isReplaced = this.#later.size > 0 && this.#isShared
    const result = isReplaced ? replaceWithin(value, this.#later) : value
    if (this.#isShared || this.#parents >= this.#limits.maxDepth)
      measure(result, this.#isShared, this.#limits)
    else if (this.#repeated > this.#limits.maxExpansion) throw tooLarge(this.#limits.maxExpansion)
    return result
  }

  memoize(): void {
    this.put(this.#memo.size)
  }

  put(index: number): void {
    this.#memo.set(index, this.#top())
    if (this.#memo.size > this.#limits.maxMemo) throw this.#limit('maxMemo')
  }

  get(index: number): void {
    const value = this.#memo.get(index)
    if (value === undefined) throw this.#reader.error('PICKLE_MEMO', 'the memo has no such entry')
    const current = this.#later.size === 0 ? value : this.#current(value)
    this.#repeat(current)
    this.#stack.push(current)
  }

  append(): void {
    const item = this.#take()
    const target = this.#top()
    const items = this.#listOf(target)
    if (isObject(item)) this.#parents++
    items.push(item)
  }

  appends(): void {
    const stack = this.#stack
    const start = this.#dropMark()
    if (start < stack.length) {
      const items = this.#listOf(this.#below(start))
      let hasObjects = false
      for (let index = start; index < stack.length; index++) {
        const item = stack[index]
        if (isObject(item)) hasObjects = true
        items.push(item)
      }
      if (hasObjects) this.#parents++
    }
    stack.length = start
  }

  setItem(): void {
    const value = this.#take()
    const key = this.#take()
    this.#top()
    this.#setItem(this.#stack.length - 1, key, value)
  }

  setItems(): void {
    const stack = this.#stack
    const start = this.#dropMark()
    if ((stack.length - start) % 2 !== 0) throw this.#reader.error('PICKLE_STACK', 'a key has no value')
    if (start < stack.length) this.#below(start)
    for (let index = start; index < stack.length; index += 2) {
      this.#setItem(start - 1, stack[index], stack[index + 1])
    }
    stack.length = start
  }

  addItems(): void {
    const items = this.#takeMarked()
    const set = this.#top()
    if (!(set instanceof Set)) throw this.#unfit('a set')
    this.#parents++
    for (const item of items) set.add(this.#hashable(item))
  }

  frozenSet(): void {
    const items = this.#takeMarked()
    this.#parents++
    for (const item of items) this.#hashable(item)
    this.pushContainer(new Set(items))
  }

  tuple(length: number): void {
    const start = this.#stack.length - length
    if (start < this.#floor) throw this.#underflow()
    this.#pushTuple(start)
  }

  tupleOfMarked(): void {
    this.#pushTuple(this.#dropMark())
  }

  listOfMarked(): void {
    const items = this.#takeMarked()
    if (items.some(isObject)) this.#parents++
    this.pushContainer(items)
  }

  dictOfMarked(): void {
    const items = this.#takeMarked()
    if (items.length % 2 !== 0) throw this.#reader.error('PICKLE_STACK', 'a key has no value')
    const entries: [unknown, unknown][] = []
    for (let index = 0; index < items.length; index += 2) {
      entries.push([this.#hashable(items[index]), items[index + 1]])
    }
    if (items.some(isObject)) this.#parents++
    this.pushContainer(dictOf(entries))
  }

  global(module: string, name: string): void {
    const place = this.#protocol < 3 ? modernize(module, name) : { module, name }
    this.pushContainer(new PyObject({ kind: 'global', ...place }))
  }

  stackGlobal(): void {
    const name = this.#take()
    const module = this.#take()
    if (typeof name !== 'string' || typeof module !== 'string') throw this.#unfit('a name')
    this.global(module, name)
  }

  reduce(): void {
    const args = this.#take()
    this.#pushReduced('call', this.#take(), args, null)
  }

  newObject(): void {
    const args = this.#take()
    this.#pushReduced('new', this.#take(), args, null)
  }

  newObjectWithKeywords(): void {
    const kwargs = this.#take()
    const args = this.#take()
    if (!isPlainObject(kwargs)) throw this.#unfit('a dict of keywords')
    this.#pushReduced('new', this.#take(), args, kwargs)
  }

  instance(module: string, name: string): void {
    const args = this.#takeMarked()
    this.global(module, name)
    this.#pushInstance(this.#take(), args)
  }

  objectOfMarked(): void {
    const [cls, ...args] = this.#takeMarked()
    this.#pushInstance(cls, args)
  }

  build(): void {
    const state = this.#take()
    const target = this.#top()
    this.#parents += 2
    if (target instanceof PyObject) {
      this.#buildObject(target, state)
    } else if (target instanceof PyException) {
      target.state = state
    } else if (!isPlainObject(target) && !(target instanceof Map)) {
      throw this.#unfit('an object')
    }
    // A subclass of dict that is read as a dict: its attributes have no place there.
  }

  #buildObject(object: PyObject, state: unknown): void {
    if (object.kind === 'global') throw this.#reader.error('PICKLE_REFUSED', 'it would change a class')
    const rebuilt = rebuild(object, state)
    if (rebuilt === undefined) {
      object.state = state
      return
    }
    this.#later.set(object, rebuilt)
    this.#stack[this.#stack.length - 1] = rebuilt
  }

  /** Protocol 0: a class without arguments is only made, with some it is called. */
  #pushInstance(cls: unknown, args: unknown[]): void {
    this.#pushReduced(args.length === 0 ? 'new' : 'call', cls, PyTuple.from(args), null)
  }

  #pushReduced(kind: 'call' | 'new', callee: unknown, args: unknown, kwargs: unknown): void {
    if (!(callee instanceof PyObject)) throw this.#unfit('a class or function')
    if (!(args instanceof PyTuple)) throw this.#unfit('a tuple of arguments')
    this.#parents += 2
    this.pushContainer(reduce(kind, callee, args, kwargs))
  }

  #pushTuple(start: number): void {
    const stack = this.#stack
    const tuple = new PyTuple()
    let hasObjects = false
    for (let index = start; index < stack.length; index++) {
      const item = stack[index]
      if (isObject(item)) hasObjects = true
      tuple.push(item)
    }
    if (hasObjects) this.#parents++
    stack.length = start
    this.pushContainer(tuple)
  }

  /** @param at where in the stack what takes the item is */
  #setItem(at: number, key: unknown, value: unknown): void {
    const target = this.#later.size === 0 ? this.#stack[at] : this.#current(this.#stack[at])
    if (isObject(value)) this.#parents++
    if (isPlainObject(target)) {
      if (typeof key === 'string') setProperty(target, key, value)
      else this.#becomeMap(at, target).set(this.#hashable(key), value)
    } else if (target instanceof Map) {
      target.set(this.#hashable(key), value)
    } else if (target instanceof PyObject && target.kind !== 'global') {
      this.#parents++
      target.dictItems ??= new Map()
      target.dictItems.set(this.#hashable(key), value)
    } else {
      throw this.#unfit('a dict')
    }
  }

  /** A dict's first key that is no string. */
  #becomeMap(at: number, object: Record<string, unknown>): Map<unknown, unknown> {
    const map = new Map<unknown, unknown>(Object.entries(object))
    this.#later.set(object, map)
    this.#stack[at] = map
    return map
  }

  #current(value: unknown): unknown {
    return typeof value === 'object' && value !== null && this.#later.has(value)
      ? this.#later.get(value)
      : value
  }

  #listOf(target: unknown): unknown[] {
    if (Array.isArray(target) && !(target instanceof PyTuple)) return target
    if (!(target instanceof PyObject) || target.kind === 'global') throw this.#unfit('a list')
    this.#parents++
    target.listItems ??= []
    return target.listItems
  }

  #hashable(key: unknown): unknown {
    if (!isHashable(key)) throw this.#reader.error('PICKLE_VALUE', 'a key or member cannot be hashed')
    if (isObject(key)) this.#parents++
    return key
  }

  /** Takes note of a value that stands in one more place. */
  #repeat(value: unknown): void {
    if (typeof value === 'string') {
      this.#repeated += sizeOfText(value)
    } else if (value instanceof PyObject && value.kind === 'global') {
      this.#repeated += sizeOfText(value.module) + sizeOfText(value.name)
    } else if (value instanceof PyTimeZone && value.origin === null) {
      this.#repeated += sizeOfText(value.name ?? '')
    } else if (isObject(value) || typeof value === 'bigint') {
      this.#isShared = true
    }
  }

  #top(): unknown {
    const { length } = this.#stack
    if (length <= this.#floor) throw this.#underflow()
    return this.#stack[length - 1]
  }

  #take(): unknown {
    if (this.#stack.length <= this.#floor) throw this.#underflow()
    return this.#stack.pop()
  }

  /** What stands directly below a mark that was just dropped. */
  #below(start: number): unknown {
    if (start <= this.#floor) throw this.#underflow()
    return this.#stack[start - 1]
  }

  #takeMarked(): unknown[] {
    return this.#stack.splice(this.#dropMark())
  }

  #dropMark(): number {
    const start = this.#marks.pop()
    if (start === undefined) throw this.#reader.error('PICKLE_STACK', 'there is no mark')
    this.#floor = this.#marks.at(-1) ?? 0
    return start
  }

  #limit(name: 'maxObjects' | 'maxMemo'): PickleError {
    return this.#reader.error('PICKLE_LIMIT', `more than ${name}, ${this.#limits[name]}`, name)
  }

  #underflow(): PickleError {
    return this.#reader.error('PICKLE_STACK', 'the stack is empty')
  }

  #unfit(wanted: string): PickleError {
    return this.#reader.error('PICKLE_STACK', `it needs ${wanted}`)
  }
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null
}
