import { PickleError } from '../errors.ts'
import { call, describe, global, makeByCall } from './describe.ts'
import { keyOf } from './globals.ts'
import {
  ADDITEMS,
  APPEND,
  APPENDS,
  BUILD,
  EMPTY_DICT,
  EMPTY_LIST,
  EMPTY_SET,
  EMPTY_TUPLE,
  FROZENSET,
  MARK,
  NEWOBJ,
  NEWOBJ_EX,
  NONE,
  POP,
  POP_MARK,
  PROTO,
  REDUCE,
  SETITEM,
  SETITEMS,
  STACK_GLOBAL,
  STOP,
  TUPLE,
  TUPLE1,
} from './opcodes.ts'
import { formatPath, type Step } from './path.ts'
import { readLatin1 } from './text.ts'
import { type PyObject, PyTuple } from './values.ts'
import {
  writeBoolean,
  writeBytes,
  writeGet,
  writeGlobal,
  writeInteger,
  writeNumber,
  writePut,
  writeString,
} from './write-scalars.ts'
import { Writer } from './writer.ts'
import { PyTimeZone } from './zones.ts'

/** Items between a mark and the opcode that takes them, as in CPython. */
const BATCH = 1_000

type Entries = readonly (readonly [unknown, unknown])[]

/** Writes one pickle. The order of its opcodes is that of CPython's C pickler. */
export class Encoder {
  readonly #protocol: number
  readonly #maxDepth: number
  readonly #writer = new Writer()
  #memoLength = 0
  readonly #objects = new Map<object, number>()
  /** Tuples and sets that are (part of) a key: there a set is another object, a frozenset. */
  readonly #frozen = new Map<object, number>()
  readonly #strings = new Map<string, number>()
  readonly #globals = new Map<string, number>()
  /** The way to the value that is being written, for errors. */
  readonly #path: Step[] = []
  #depth = 0
  /** Whether what is being written is (part of) a key of a dict or a member of a set. */
  #isKey = false

  constructor(protocol: number, maxDepth: number) {
    this.#protocol = protocol
    this.#maxDepth = maxDepth
  }

  encode(value: unknown): Uint8Array {
    if (this.#protocol >= 2) {
      this.#writer.byte(PROTO)
      this.#writer.byte(this.#protocol)
    }
    if (this.#protocol >= 4) this.#writer.startFraming()
    this.#save(value)
    this.#writer.byte(STOP)
    return this.#writer.finish()
  }

  #save(value: unknown): void {
    this.#writer.boundary()
    switch (typeof value) {
      case 'string':
        this.#saveString(value)
        break
      case 'number':
        writeNumber(this.#writer, this.#protocol, value)
        break
      case 'boolean':
        writeBoolean(this.#writer, this.#protocol, value)
        break
      case 'bigint':
        writeInteger(this.#writer, this.#protocol, value)
        break
      case 'undefined':
        this.#writer.byte(NONE)
        break
      case 'object':
        if (value === null) this.#writer.byte(NONE)
        else this.#saveObject(value)
        break
      default:
        throw this.#unencodable(`a ${typeof value}`)
    }
  }

  #saveAt(step: Step, value: unknown): void {
    this.#path.push(step)
    this.#save(value)
    this.#path.pop()
  }

  #saveAs(isKey: boolean, step: Step, value: unknown): void {
    const wasKey = this.#isKey
    this.#isKey = isKey
    this.#saveAt(step, value)
    this.#isKey = wasKey
  }

  #saveString(text: string): void {
    const known = this.#strings.get(text)
    if (known !== undefined) {
      this.#get(known)
      return
    }
    writeString(this.#writer, this.#protocol, text)
    this.#strings.set(text, this.#put())
  }

  #saveObject(value: object): void {
    const known = this.#memoOf(value).get(value)
    if (known !== undefined) {
      this.#get(known)
      return
    }
    if (this.#depth >= this.#maxDepth) throw this.#tooDeep()
    this.#depth++
    if (value instanceof Uint8Array) this.#saveBytes(value)
    else if (value instanceof PyTuple) this.#saveTuple(value)
    else if (value instanceof Set) this.#saveSet(value)
    else if (Array.isArray(value)) this.#saveList(value)
    else if (value instanceof Map) this.#saveDict(value, [...value])
    else if (isPlain(value)) this.#saveDict(value, Object.entries(value).filter(isDefined))
    else this.#saveInstance(value)
    this.#depth--
  }

  #saveBytes(bytes: Uint8Array): void {
    if (this.#protocol >= 3) {
      writeBytes(this.#writer, bytes)
      this.#remember(bytes)
      return
    }
    const text = readLatin1(bytes, 0, bytes.length)
    this.#saveMade(bytes, text === '' ? call('builtins', 'bytes') : call('_codecs', 'encode', text, 'latin1'))
  }

  #saveList(array: readonly unknown[]): void {
    if (this.#isKey) throw this.#unencodable('a list as a key or a member of a set')
    if (this.#protocol === 0) this.#writer.ascii('(l')
    else this.#writer.byte(EMPTY_LIST)
    this.#remember(array)
    this.#saveItems(array, false)
  }

  #saveItems(items: readonly unknown[], areKeys: boolean): void {
    const isBatched = this.#protocol > 0 && items.length !== 1
    for (let index = 0; index < items.length; index++) {
      if (isBatched && index % BATCH === 0) this.#writer.byte(MARK)
      this.#saveAs(areKeys, index, items[index])
      if (!isBatched) this.#writer.byte(APPEND)
      else if (isBatchEnd(index, items.length)) this.#writer.byte(APPENDS)
    }
  }

  #saveTuple(tuple: PyTuple): void {
    const writer = this.#writer
    const { length } = tuple
    if (length === 0) {
      if (this.#protocol === 0) writer.ascii('(t')
      else writer.byte(EMPTY_TUPLE)
      return
    }
    const isShort = length <= 3 && this.#protocol >= 2
    if (!isShort) writer.byte(MARK)
    for (let index = 0; index < length; index++) this.#saveAt(index, tuple[index])
    const known = this.#memoOf(tuple).get(tuple)
    if (known !== undefined) {
      // One of its items led back to it, and it was written there.
      this.#discard(length, !isShort)
      this.#get(known)
      return
    }
    writer.byte(isShort ? TUPLE1 + length - 1 : TUPLE)
    this.#remember(tuple)
  }

  #discard(length: number, hasMark: boolean): void {
    if (hasMark && this.#protocol > 0) {
      this.#writer.byte(POP_MARK)
      return
    }
    for (let count = hasMark ? -1 : 0; count < length; count++) this.#writer.byte(POP)
  }

  #saveDict(dict: object, entries: Entries): void {
    if (this.#isKey) throw this.#unencodable('a dict as a key or a member of a set')
    if (this.#protocol === 0) this.#writer.ascii('(d')
    else this.#writer.byte(EMPTY_DICT)
    this.#remember(dict)
    this.#saveEntries(entries)
    this.#endBatches(entries.length, SETITEMS)
  }

  #saveEntries(entries: Entries): void {
    const isBatched = this.#protocol > 0 && entries.length !== 1
    let index = 0
    for (const [key, value] of entries) {
      if (isBatched && index % BATCH === 0) this.#writer.byte(MARK)
      this.#saveAs(true, 'key', key)
      this.#saveAt(typeof key === 'string' || typeof key === 'number' ? key : 'value', value)
      if (!isBatched) this.#writer.byte(SETITEM)
      else if (isBatchEnd(index, entries.length)) this.#writer.byte(SETITEMS)
      index++
    }
  }

  #saveSet(set: Set<unknown>): void {
    if (this.#protocol < 4) {
      this.#saveSetByCall(set)
      return
    }
    if (this.#isKey) {
      this.#saveFrozenSet(set)
      return
    }
    this.#writer.byte(EMPTY_SET)
    this.#remember(set)
    let index = 0
    for (const item of set) {
      if (index % BATCH === 0) this.#writer.byte(MARK)
      this.#saveAs(true, index, item)
      if (isBatchEnd(index, set.size)) this.#writer.byte(ADDITEMS)
      index++
    }
    this.#endBatches(set.size, ADDITEMS)
  }

  /** CPython looks for more behind a full batch of a dict or a set, and writes down that there was nothing. */
  #endBatches(length: number, end: number): void {
    if (this.#protocol === 0 || length === 0 || length % BATCH !== 0) return
    this.#writer.byte(MARK)
    this.#writer.byte(end)
  }

  #saveFrozenSet(set: Set<unknown>): void {
    this.#writer.byte(MARK)
    let index = 0
    for (const item of set) this.#saveAt(index++, item)
    this.#writer.byte(FROZENSET)
    this.#remember(set)
  }

  /** `set([…])`, which protocols 0 to 3 know no opcodes for. */
  #saveSetByCall(set: Set<unknown>): void {
    this.#saveGlobal('builtins', this.#isKey ? 'frozenset' : 'set')
    if (this.#protocol < 2) this.#writer.byte(MARK)
    if (this.#protocol === 0) this.#writer.ascii('(l')
    else this.#writer.byte(EMPTY_LIST)
    this.#put()
    this.#saveItems([...set], true)
    this.#writer.byte(this.#protocol < 2 ? TUPLE : TUPLE1)
    this.#put()
    this.#writer.byte(REDUCE)
    this.#remember(set)
  }

  #saveInstance(value: object): void {
    if (value instanceof PyTimeZone && value.origin !== null) {
      this.#save(value.origin)
      return
    }
    const wasKey = this.#isKey
    // Whether it can be hashed is for its class to say; its arguments need not be.
    this.#isKey = false
    this.#saveMade(value, this.#describe(value))
    this.#isKey = wasKey
  }

  /** @param object how `value` is made */
  #saveMade(value: object, object: PyObject): void {
    if (object.kind === 'global') {
      this.#saveGlobal(object.module, object.name)
      return
    }
    this.#saveMaking(object)
    const known = this.#objects.get(value)
    if (known !== undefined) {
      // Its arguments led back to it, and it was written there.
      this.#writer.byte(POP)
      this.#get(known)
      return
    }
    this.#remember(value)
    if (object.listItems !== null) this.#saveItems(object.listItems, false)
    if (object.dictItems !== null) this.#saveEntries([...object.dictItems])
    if (object.state === null) return
    this.#saveAt('state', object.state)
    this.#writer.byte(BUILD)
  }

  #saveMaking(object: PyObject): void {
    const { kind, module, name, callee, args, kwargs } = object
    const isCall = kind === 'call'
    if (isCall && kwargs !== null) throw this.#unencodable('a call with keyword arguments')
    if (!isCall && this.#protocol < (kwargs === null ? 2 : 4)) {
      this.#saveMaking(makeByCall(object))
      return
    }
    if (callee === null) this.#saveGlobal(module, name)
    else this.#saveAt('callee', callee)
    this.#saveAt('args', args)
    if (kwargs !== null) this.#saveAt('kwargs', kwargs)
    this.#writer.byte(isCall ? REDUCE : kwargs === null ? NEWOBJ : NEWOBJ_EX)
  }

  #saveGlobal(module: string, name: string): void {
    const key = keyOf(module, name)
    const known = this.#globals.get(key)
    if (known !== undefined) {
      this.#get(known)
      return
    }
    const dot = name.lastIndexOf('.')
    if (this.#protocol >= 4) {
      this.#save(module)
      this.#save(name)
      this.#writer.byte(STACK_GLOBAL)
    } else if (dot > 0) {
      const parent = global(module, name.slice(0, dot))
      this.#saveMaking(call('builtins', 'getattr', parent, name.slice(dot + 1)))
    } else if (!writeGlobal(this.#writer, this.#protocol, module, name)) {
      throw this.#unencodable(`a class whose name protocol ${this.#protocol} cannot spell`)
    }
    this.#globals.set(key, this.#put())
  }

  #describe(value: object): PyObject {
    try {
      const described = describe(value, this.#protocol)
      if (described !== undefined) return described
    } catch (error) {
      if (!(error instanceof RangeError)) throw error
      throw this.#unencodable('a Date outside of the years 1 to 9999')
    }
    throw this.#unencodable(`an instance of ${value.constructor?.name || 'an unknown class'}`)
  }

  #memoOf(value: object): Map<object, number> {
    return this.#isKey && (value instanceof PyTuple || value instanceof Set) ? this.#frozen : this.#objects
  }

  #remember(value: object): void {
    this.#memoOf(value).set(value, this.#put())
  }

  #put(): number {
    writePut(this.#writer, this.#protocol, this.#memoLength)
    return this.#memoLength++
  }

  #get(index: number): void {
    writeGet(this.#writer, this.#protocol, index)
  }

  #unencodable(what: string): PickleError {
    const path = formatPath(this.#path)
    return new PickleError('PICKLE_UNENCODABLE', `Cannot encode ${path} as a pickle: it is ${what}`, { path })
  }

  #tooDeep(): PickleError {
    const message = `Cannot encode the value as a pickle: it is deeper than maxDepth, ${this.#maxDepth}`
    return new PickleError('PICKLE_LIMIT', message, { limit: 'maxDepth' })
  }
}

/** An object literal, of another realm too, or one without a prototype. */
function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === null || Object.getPrototypeOf(prototype) === null
}

function isDefined([, value]: readonly [string, unknown]): boolean {
  return value !== undefined
}

function isBatchEnd(index: number, length: number): boolean {
  return index % BATCH === BATCH - 1 || index === length - 1
}
