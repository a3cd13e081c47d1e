import type { PickleError } from '../errors.ts'
import { Keys, type Limits, WorkBudget } from './limits.ts'
import { measure, replaceWithin, sizeOfText, tooLarge } from './measure.ts'
import { modernize } from './names.ts'
import type { Reader } from './reader.ts'
import { rebuild, reduce } from './reduce.ts'
import { Memo, Stack } from './stack.ts'
import { dictOf, isPlainObject, PyException, PyObject, PyTuple, setProperty, tupleOf } from './values.ts'
import { PyTimeZone } from './zones.ts'

/** What weighs more than a list counts as so many objects. */
const HEAVY = 3
/** V8 keeps longer ones outside of its heap. */
const SHORT_BYTES = 64

/** What the opcodes of a pickle that is being read do to its stack and its memo. */
export class Machine {
  readonly #reader: Reader
  readonly #limits: Limits
  readonly #stack: Stack
  readonly #memo = new Memo()
  readonly #keys: Keys
  readonly #budget: WorkBudget
  #protocol = 0
  #objects = 0
  /** How many containers had another put into them: nothing is deeper than that, and one more. */
  #parents = 0
  /** Whether a container may stand in two places. */
  #isShared = false
  /** The size of the texts and names that were fetched again. */
  #repeated = 0
  /** The later form of a dict that became a Map, of an object that became a text, of an exception that is none. */
  readonly #later = new Map<object, unknown>()

  constructor(reader: Reader, limits: Limits) {
    this.#reader = reader
    this.#limits = limits
    this.#stack = new Stack(reader)
    this.#keys = new Keys(reader, limits)
    this.#budget = new WorkBudget(reader, limits)
  }

  push(value: unknown): void {
    this.#stack.push(value)
  }

  /** What was read from a line of text. */
  pushLine(value: unknown): void {
    this.#budget.slow()
    this.pushNumber(value)
  }

  pushNumber(value: unknown): void {
    if (typeof value === 'bigint') this.#budget.slow()
    this.#stack.push(value)
  }

  pushContainer(container: unknown): void {
    if (++this.#objects > this.#limits.maxObjects) throw this.#limit('maxObjects')
    this.#stack.push(container)
  }

  pushSet(set: Set<unknown>): void {
    this.#objects += HEAVY - 1
    this.pushContainer(set)
  }

  /** Also the text that a `str` of Python 2 is when it is ASCII. */
  pushBytes(bytes: Uint8Array | string): void {
    if (typeof bytes !== 'string' && bytes.length > SHORT_BYTES) this.#objects += HEAVY - 1
    this.pushContainer(bytes)
  }

  pop(): void {
    const stack = this.#stack
    if (stack.isAtMark && stack.hasMark) {
      // As in CPython: POP also takes a mark away.
      stack.dropMark()
      return
    }
    const value = stack.take()
    if (value instanceof PyObject && value.args.length === 2 && !stack.isAtMark) this.#setState(value)
  }

  mark(): void {
    this.#stack.mark()
  }

  popMark(): void {
    this.#stack.cut(this.#stack.dropMark())
  }

  duplicate(): void {
    const value = this.#stack.top()
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
    const value = this.#stack.take()
    const isReplaced = this.#later.size > 0 && this.#isShared
    const result = isReplaced ? replaceWithin(value, this.#later) : value
    if (this.#isShared || this.#parents >= this.#limits.maxDepth)
      measure(result, this.#isShared, this.#repeated, this.#limits)
    return result
  }

  memoize(): void {
    this.put(this.#memo.size)
  }

  put(index: number): void {
    this.#memo.set(index, this.#stack.top())
    if (this.#memo.weight > this.#limits.maxMemo) throw this.#limit('maxMemo')
  }

  get(index: number): void {
    const value = this.#memo.get(index)
    if (value === undefined) throw this.#reader.error('PICKLE_MEMO', 'the memo has no such entry')
    const current = this.#later.size === 0 ? value : this.#current(value)
    this.#repeat(current)
    this.#stack.push(current)
  }

  append(): void {
    const item = this.#stack.take()
    this.#stack.top()
    const items = this.#listAt(this.#stack.length - 1)
    if (isObject(item)) this.#parents++
    items.push(item)
  }

  appends(): void {
    const stack = this.#stack
    const start = stack.dropMark()
    const { length } = stack
    if (start < length) {
      const items = this.#listAt(stack.below(start))
      let hasObjects = false
      for (let index = start; index < length; index++) {
        const item = stack.at(index)
        if (isObject(item)) hasObjects = true
        items.push(item)
      }
      if (hasObjects) this.#parents++
    }
    stack.cut(start)
  }

  setItem(): void {
    const value = this.#stack.take()
    const key = this.#stack.take()
    const dict = this.#stack.top()
    if (isObject(dict)) this.#budget.keys(dict, 1)
    this.#setItem(this.#stack.length - 1, key, value)
  }

  setItems(): void {
    const stack = this.#stack
    const start = stack.dropMark()
    const { length } = stack
    if ((length - start) % 2 !== 0) throw this.#reader.error('PICKLE_STACK', 'a key has no value')
    if (start < length) {
      const at = stack.below(start)
      const dict = stack.at(at)
      if (isObject(dict)) this.#budget.keys(dict, (length - start) / 2)
      for (let index = start; index < length; index += 2) {
        this.#setItem(at, stack.at(index), stack.at(index + 1))
      }
    }
    stack.cut(start)
  }

  addItems(): void {
    const items = this.#stack.takeMarked()
    const set = this.#stack.top()
    if (!(set instanceof Set)) throw this.#unfit('a set')
    this.#parents++
    this.#budget.keys(set, items.length)
    for (const item of items) set.add(this.#hashable(item))
  }

  frozenSet(): void {
    const items = this.#stack.takeMarked()
    this.#parents++
    this.#budget.keys(items, items.length)
    for (const item of items) this.#hashable(item)
    this.pushSet(new Set(items))
  }

  tuple(length: number): void {
    this.#pushTuple(this.#stack.startOf(length))
  }

  tupleOfMarked(): void {
    this.#pushTuple(this.#stack.dropMark())
  }

  listOfMarked(): void {
    const items = this.#stack.takeMarked()
    if (items.some(isObject)) this.#parents++
    this.pushContainer(items)
  }

  dictOfMarked(): void {
    const items = this.#stack.takeMarked()
    if (items.length % 2 !== 0) throw this.#reader.error('PICKLE_STACK', 'a key has no value')
    this.#budget.keys(items, items.length / 2)
    const entries: [unknown, unknown][] = []
    for (let index = 0; index < items.length; index += 2) {
      entries.push([this.#hashable(items[index]), items[index + 1]])
    }
    if (items.some(isObject)) this.#parents++
    const dict = dictOf(entries)
    if (dict instanceof Map) this.#objects += HEAVY - 1
    this.pushContainer(dict)
  }

  global(module: string, name: string): void {
    const global = this.#protocol < 3 ? modernize(module, name) : { module, name }
    this.pushContainer(new PyObject({ kind: 'global', ...global }))
  }

  stackGlobal(): void {
    const name = this.#stack.take()
    const module = this.#stack.take()
    if (typeof name !== 'string' || typeof module !== 'string') throw this.#unfit('a name')
    this.global(module, name)
  }

  reduce(): void {
    const args = this.#stack.take()
    this.#pushReduced('call', this.#stack.take(), args, null)
  }

  newObject(): void {
    const args = this.#stack.take()
    this.#pushReduced('new', this.#stack.take(), args, null)
  }

  newObjectWithKeywords(): void {
    const kwargs = this.#stack.take()
    const args = this.#stack.take()
    if (!isPlainObject(kwargs)) throw this.#unfit('a dict of keywords')
    this.#pushReduced('new', this.#stack.take(), args, kwargs)
  }

  instance(module: string, name: string): void {
    const args = this.#stack.takeMarked()
    this.global(module, name)
    this.#pushInstance(this.#stack.take(), tupleOf(args))
  }

  objectOfMarked(): void {
    const [cls, ...args] = this.#stack.takeMarked()
    this.#pushInstance(cls, tupleOf(args))
  }

  build(): void {
    const state = this.#stack.take()
    this.#stack.top()
    const target = this.#targetAt(this.#stack.length - 1)
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
    this.#stack.replace(this.#stack.length - 1, rebuilt)
  }

  /**
   * A call whose result is not wanted. On the object that stands below it was made to set that object's state, which is
   * how pickles spell the sixth part of what `__reduce__` returns; on anything else it stays without effect.
   */
  #setState({ kind, module, name, callee, args }: PyObject): void {
    const [object, state] = args
    const at = this.#stack.length - 1
    const target = this.#targetAt(at)
    if (kind !== 'call' || !isObject(object) || this.#current(object) !== target) return
    const owner = target instanceof PyException ? this.#becomeObject(at, target) : target
    const isFree = owner instanceof PyObject && owner.kind !== 'global' && owner.state === null
    if (!isFree || owner.stateSetter !== null) {
      throw this.#reader.error('PICKLE_REFUSED', 'it would change what has no room for it')
    }
    this.#parents += 2
    owner.stateSetter = callee ?? new PyObject({ kind: 'global', module, name })
    owner.state = state
  }

  /** Protocol 0: a class without arguments is only made, with some it is called. */
  #pushInstance(cls: unknown, args: PyTuple): void {
    this.#pushReduced(args.length === 0 ? 'new' : 'call', cls, args, null)
  }

  #pushReduced(kind: 'call' | 'new', callee: unknown, args: unknown, kwargs: unknown): void {
    if (!(callee instanceof PyObject)) throw this.#unfit('a class or function')
    if (!(args instanceof PyTuple)) throw this.#unfit('a tuple of arguments')
    this.#budget.call(callee, args, kwargs)
    this.#parents += 2
    const made = reduce(kind, callee, args, kwargs, this.#keys)
    this.#budget.made(made)
    if (made instanceof Set || made instanceof Map) this.#objects += HEAVY - 1
    if (made instanceof Uint8Array) this.pushBytes(made)
    else this.pushContainer(made)
  }

  #pushTuple(start: number): void {
    const stack = this.#stack
    const { length } = stack
    const tuple = new PyTuple()
    let hasObjects = false
    for (let index = start; index < length; index++) {
      const item = stack.at(index)
      if (isObject(item)) hasObjects = true
      tuple.push(item)
    }
    if (hasObjects) this.#parents++
    stack.cut(start)
    this.pushContainer(tuple)
  }

  /** @param at where in the stack what takes the item is */
  #setItem(at: number, key: unknown, value: unknown): void {
    const target = this.#targetAt(at)
    if (isObject(value)) this.#parents++
    if (isPlainObject(target)) {
      if (typeof key === 'string') setProperty(target, key, value)
      else this.#becomeMap(at, target).set(this.#hashable(key), value)
    } else if (target instanceof Map) {
      target.set(this.#hashable(key), value)
    } else {
      const object = this.#ownerOfItems(at, target, 'a dict')
      this.#parents++
      object.dictItems ??= new Map()
      object.dictItems.set(this.#hashable(key), value)
    }
  }

  /** What takes the items of a list. */
  #listAt(at: number): unknown[] {
    const target = this.#targetAt(at)
    if (Array.isArray(target) && !(target instanceof PyTuple)) return target
    const object = this.#ownerOfItems(at, target, 'a list')
    this.#parents++
    object.listItems ??= []
    return object.listItems
  }

  #ownerOfItems(at: number, target: unknown, wanted: string): PyObject {
    if (target instanceof PyException) return this.#becomeObject(at, target)
    if (!(target instanceof PyObject) || target.kind === 'global') throw this.#unfit(wanted)
    return target
  }

  /** A dict's first key that is no string. */
  #becomeMap(at: number, object: Record<string, unknown>): Map<unknown, unknown> {
    const map = new Map<unknown, unknown>(Object.entries(object))
    this.#objects += HEAVY - 1
    this.#later.set(object, map)
    this.#stack.replace(at, map)
    return map
  }

  /** What has items is no exception, whatever its name. */
  #becomeObject(at: number, exception: PyException): PyObject {
    const { module, type: name, args, state } = exception
    const object = new PyObject({ kind: 'call', module, name, args })
    object.state = state
    this.#later.set(exception, object)
    this.#stack.replace(at, object)
    return object
  }

  #targetAt(at: number): unknown {
    return this.#later.size === 0 ? this.#stack.at(at) : this.#current(this.#stack.at(at))
  }

  #current(value: unknown): unknown {
    return typeof value === 'object' && value !== null && this.#later.has(value)
      ? this.#later.get(value)
      : value
  }

  #hashable(key: unknown): unknown {
    if (!this.#keys.accepts(key)) throw this.#reader.error('PICKLE_VALUE', 'a key or member cannot be hashed')
    if (isObject(key)) this.#parents++
    return key
  }

  /** Counts a value that is referred to once more. */
  #repeat(value: unknown): void {
    if (typeof value === 'string') {
      this.#addRepeated(sizeOfText(value))
    } else if (value instanceof PyObject && value.kind === 'global') {
      this.#addRepeated(sizeOfText(value.module) + sizeOfText(value.name))
    } else if (value instanceof PyTimeZone && value.origin === null) {
      this.#addRepeated(sizeOfText(value.name ?? ''))
    } else if (isObject(value) || typeof value === 'bigint') {
      this.#isShared = true
    }
  }

  #addRepeated(size: number): void {
    this.#repeated += size
    if (this.#repeated > this.#limits.maxExpansion) throw tooLarge(this.#limits.maxExpansion)
  }

  #limit(name: 'maxObjects' | 'maxMemo'): PickleError {
    return this.#reader.error('PICKLE_LIMIT', `more than ${name}, ${this.#limits[name]}`, name)
  }

  #unfit(wanted: string): PickleError {
    return this.#reader.error('PICKLE_STACK', `it needs ${wanted}`)
  }
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null
}
