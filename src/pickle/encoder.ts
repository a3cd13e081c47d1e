import { PickleError } from '../errors.ts'
import { type PyClass, writtenBy } from './classes.ts'
import { call, describe, equalKey, global, isWellFormed, kindOf, makeByCall } from './inspect.ts'
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
import { readLatin1 } from './text.ts'
import { formatPath, type PyObject, type PyTuple, type Step } from './values.ts'
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
import { WriteMemo, Writer } from './writer.ts'
import { PyTimeZone } from './zones.ts'

/** Items between a mark and the opcode that takes them, as in CPython. */
const BATCH = 1_000

type Entries = readonly (readonly [unknown, unknown])[]

/** `EncodeOptions`, checked. */
export interface EncoderOptions {
  readonly protocol: number
  readonly maxDepth: number
  readonly maxBytes: number
  readonly classes: ReadonlyMap<string, PyClass>
}

/** Writes one pickle. The order of its opcodes is that of CPython's C pickler. */
export class Encoder {
  readonly #protocol: number
  readonly #maxDepth: number
  readonly #writer: Writer
  readonly #classes: ReadonlyMap<string, PyClass>
  readonly #memo = new WriteMemo()
  /** The way to the value that is being written, for errors. */
  readonly #path: Step[] = []
  #depth = 0
  /** Whether what is being written is (part of) a key of a dict or a member of a set. */
  #isKey = false

  constructor({ protocol, maxDepth, maxBytes, classes }: EncoderOptions) {
    this.#protocol = protocol
    this.#maxDepth = maxDepth
    this.#classes = classes
    this.#writer = new Writer(maxBytes)
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
    const known = this.#memo.string(text)
    if (known !== undefined) {
      this.#get(known)
      return
    }
    writeString(this.#writer, this.#protocol, text)
    this.#put(this.#memo.addString(text))
  }

  #saveObject(value: object): void {
    if (this.#getWritten(value)) return
    if (this.#depth >= this.#maxDepth) throw this.#tooDeep()
    this.#depth++
    this.#saveNew(value)
    this.#depth--
  }

  #saveNew(value: object): void {
    switch (kindOf(value)) {
      case 'bytes':
        this.#saveBytes(value as Uint8Array)
        break
      case 'tuple':
        this.#saveTuple(value as PyTuple)
        break
      case 'set':
        this.#saveSet(value as Set<unknown>)
        break
      case 'list':
        this.#saveList(value as unknown[])
        break
      case 'map':
        this.#saveMap(value as Map<unknown, unknown>)
        break
      case 'plain':
        this.#saveDict(value, Object.entries(value).filter(isDefined))
        break
      case 'instance':
        this.#saveInstance(value)
        break
      default:
        throw this.#unencodable('an object that is not what it seems to be')
    }
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
    if (this.#getWritten(tuple, () => this.#discard(length, !isShort))) return
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

  #saveMap(map: Map<unknown, unknown>): void {
    const entries = [...map]
    this.#checkKeys(map, map.keys())
    this.#saveDict(map, entries)
  }

  /** In Python `1`, `True` and `1.0` are the same key. */
  #checkKeys(all: { has(key: unknown): boolean }, keys: Iterable<unknown>): void {
    for (const key of keys) {
      if (equalKey(key, all) !== undefined)
        throw this.#unencodable('a Map or Set with keys that are equal in Python')
    }
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
    this.#checkKeys(set, set)
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
    if (this.#getWritten(set, () => this.#writer.byte(POP_MARK))) return
    this.#writer.byte(FROZENSET)
    this.#remember(set)
  }

  /** `set([…])`, which protocols 0 to 3 know no opcodes for. */
  #saveSetByCall(set: Set<unknown>): void {
    this.#saveGlobal('builtins', this.#isKey ? 'frozenset' : 'set')
    if (this.#protocol < 2) this.#writer.byte(MARK)
    if (this.#protocol === 0) this.#writer.ascii('(l')
    else this.#writer.byte(EMPTY_LIST)
    this.#put(this.#memo.addNameless())
    this.#saveItems([...set], true)
    this.#writer.byte(this.#protocol < 2 ? TUPLE : TUPLE1)
    if (this.#getWritten(set, () => this.#discard(2, false))) return
    this.#put(this.#memo.addNameless())
    this.#writer.byte(REDUCE)
    this.#remember(set)
  }

  #saveInstance(value: object): void {
    if (!isWellFormed(value)) throw this.#unencodable('an object whose fields are not those of its class')
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
    if (this.#getWritten(value, () => this.#discard(1, false))) return
    this.#remember(value)
    if (object.listItems !== null) this.#saveItems(object.listItems, false)
    if (object.dictItems !== null) {
      this.#checkKeys(object.dictItems, object.dictItems.keys())
      this.#saveEntries([...object.dictItems])
    }
    if (object.stateSetter !== null) {
      this.#saveSetter(value, object.stateSetter, object.state)
    } else if (object.state !== null) {
      this.#saveAt('state', object.state)
      this.#writer.byte(BUILD)
    }
  }

  /** A call of the function with the object and its state; what it returns is not wanted. */
  #saveSetter(value: object, setter: PyObject, state: unknown): void {
    this.#saveAt('stateSetter', setter)
    if (this.#protocol < 2) this.#writer.byte(MARK)
    this.#save(value)
    this.#saveAt('state', state)
    this.#writer.byte(this.#protocol < 2 ? TUPLE : TUPLE1 + 1)
    this.#writer.byte(REDUCE)
    this.#writer.byte(POP)
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
    const known = this.#memo.global(module, name)
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
    this.#put(this.#memo.addGlobal(module, name))
  }

  #describe(value: object): PyObject {
    try {
      const described = describe(value, this.#protocol) ?? writtenBy(this.#classes, value)
      if (described !== undefined) return described
    } catch (error) {
      if (!(error instanceof RangeError)) throw error
      throw this.#unencodable('a Date outside of the years 1 to 9999')
    }
    throw this.#unencodable(`an instance of ${nameOfClass(value)}`)
  }

  /**
   * Refers to a value that was written before: also while its parts were, if one of them led back to it.
   * @param discard takes those parts away again
   */
  #getWritten(value: object, discard?: () => void): boolean {
    const index = this.#memo.object(value, this.#isKey)
    if (index === undefined) return false
    discard?.()
    this.#get(index)
    return true
  }

  #remember(value: object): void {
    this.#put(this.#memo.addObject(value, this.#isKey))
  }

  #put(index: number): void {
    writePut(this.#writer, this.#protocol, index)
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

/** For an object that says of itself what it is, like `Math`, that. */
function nameOfClass(value: object): string {
  const tag = Object.prototype.toString.call(value).slice(8, -1)
  const name: unknown = tag === 'Object' ? value.constructor?.name : tag
  return typeof name === 'string' && name !== '' ? name : 'an unknown class'
}

function isDefined([, value]: readonly [string, unknown]): boolean {
  return value !== undefined
}

function isBatchEnd(index: number, length: number): boolean {
  return index % BATCH === BATCH - 1 || index === length - 1
}
