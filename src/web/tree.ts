import { isDate } from 'node:util/types'
import { isPlainObject, PyException, PyObject, PyTuple } from '../pickle/values.ts'
import { type Html, html } from './html.ts'

/** What one page shows of values, however large they are. */
const MOST_NODES = 3_000
const MOST_CHARACTERS = 100_000
const LONGEST_TEXT = 10_000
/** Characters of a key, and of the name of a class. */
const LONGEST_NAME = 200
const DEEPEST = 24
/** Items that stand open from the start. */
const OPEN_ITEMS = 30

/** What may still be shown. */
interface Room {
  nodes: number
  characters: number
}

/** Room for one page. */
export function roomForTrees(): Room {
  return { nodes: MOST_NODES, characters: MOST_CHARACTERS }
}

/** A value as Python had it, one line for each part, as far as there is room. */
export function treeOf(value: unknown, room: Room, depth = 0): Html {
  room.nodes--
  const container = containerOf(value)
  return container === null ? scalarOf(value, room) : detailsOf(container, room, depth)
}

interface Container {
  readonly type: string
  readonly size: number
  /** A key, or `null` where it is only a position. */
  readonly items: Iterable<readonly [key: unknown, value: unknown]>
  readonly isNumbered: boolean
}

function containerOf(value: unknown): Container | null {
  if (typeof value !== 'object' || value === null || isDate(value)) return null
  if (value instanceof PyTuple) return listed('tuple', value)
  if (Array.isArray(value)) return listed('list', value)
  if (value instanceof Set) return { ...listed('set', [...value]), isNumbered: false }
  if (value instanceof Map) return { type: 'dict', size: value.size, items: value, isNumbered: false }
  if (isPlainObject(value)) return named('dict', Object.entries(value))
  if (value instanceof PyObject) return objectOf(value)
  if (value instanceof PyException)
    return named(fullName(value.module, value.type), [['args', value.args], ...stateOf(value.state)])
  if (value instanceof Uint8Array) return null
  if (ArrayBuffer.isView(value) && Symbol.iterator in value)
    return listed('array', Array.from(value as Iterable<unknown>))
  return null
}

function listed(type: string, items: readonly unknown[]): Container {
  return { type, size: items.length, items: items.entries(), isNumbered: true }
}

function named(type: string, entries: readonly (readonly [string, unknown])[]): Container {
  return { type, size: entries.length, items: entries, isNumbered: false }
}

function stateOf(state: unknown): (readonly [string, unknown])[] {
  return state === null ? [] : [['state', state]]
}

/** A class that nobody named: only what there is of it. */
function objectOf(object: PyObject): Container | null {
  const { kind, module, name, args, kwargs, state, listItems, dictItems } = object
  if (kind === 'global') return null
  const parts: (readonly [string, unknown])[] = []
  if (args.length > 0) parts.push(['args', args])
  if (kwargs !== null) parts.push(['kwargs', kwargs])
  if (isPlainObject(state)) parts.push(...Object.entries(state))
  else parts.push(...stateOf(state))
  if (listItems !== null) parts.push(['items', listItems])
  if (dictItems !== null) parts.push(['items', dictItems])
  return named(fullName(module, name), parts)
}

function detailsOf({ type, size, items, isNumbered }: Container, room: Room, depth: number): Html {
  const title = html`<span class="type">${type}</span> <span class="dim">${size === 1 ? '1 item' : `${size} items`}</span>`
  if (size === 0) return html`<span class="leaf">${title}</span>`
  if (depth >= DEEPEST)
    return html`<span class="leaf">${title} <span class="dim">(deeper than is shown)</span></span>`
  const shown: Html[] = []
  for (const [key, value] of items) {
    if (room.nodes <= 0 || room.characters <= 0) break
    shown.push(html`<li>${keyOf(key, isNumbered, room)}${treeOf(value, room, depth + 1)}</li>`)
  }
  const left = size - shown.length
  const isOpen = depth < 2 && size <= OPEN_ITEMS
  return html`<details class="leaf"${isOpen && html` open`}><summary>${title}</summary>
<ul>${shown}${left > 0 && html`<li class="dim">… ${left.toLocaleString('en-US')} more</li>`}</ul></details>`
}

function keyOf(key: unknown, isNumbered: boolean, room: Room): Html {
  if (isNumbered) return html`<span class="index">${String(key)}</span> `
  const text = typeof key === 'object' && key !== null ? shortOf(key) : wordOf(key)
  return html`<span class="key">${cut(text, room, LONGEST_NAME)}</span> `
}

/** A key that is a tuple or the like: its first parts. */
function shortOf(key: object): string {
  if (!Array.isArray(key)) return typeOf(key)
  const parts = key.slice(0, LONGEST_NAME).map((part) => {
    return typeof part === 'object' && part !== null ? '…' : shortened(wordOf(part))
  })
  return shortened(`(${parts.join(', ')})`)
}

/** Of what is no object. Thousands of digits take long to be written out. */
function wordOf(value: unknown): string {
  const isLarge = typeof value === 'bigint' && BigInt.asIntN(20_000, value) !== value
  return isLarge ? 'a very large number' : String(value)
}

/** Of a class. */
function fullName(module: string, name: string): string {
  return shortened(`${module}.${name}`)
}

function shortened(text: string): string {
  return text.length <= LONGEST_NAME ? text : `${text.slice(0, LONGEST_NAME - 1)}…`
}

function scalarOf(value: unknown, room: Room): Html {
  if (typeof value === 'string') return textOf(value, room)
  if (value === null || value === undefined) return html`<code class="literal">None</code>`
  if (typeof value === 'boolean') return html`<code class="literal">${value ? 'True' : 'False'}</code>`
  if (typeof value === 'number') return html`<code class="number">${String(value)}</code>`
  if (typeof value === 'bigint') return html`<code class="number">${cut(wordOf(value), room)}</code>`
  if (value instanceof Uint8Array) return bytesOf(value, room)
  if (value instanceof PyObject)
    return html`<code class="literal">${fullName(value.module, value.name)}</code>`
  return html`<span class="type">${typeOf(value)}</span> <code>${cut(wordsOf(value), room)}</code>`
}

function textOf(text: string, room: Room): Html {
  return html`<code class="text">${cut(text, room)}</code>`
}

function bytesOf(bytes: Uint8Array, room: Room): Html {
  const hex = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.length, 512)).toString('hex')
  const more = bytes.length > 512 && html` <span class="dim">…</span>`
  return html`<span class="type">bytes</span> <span class="dim">${bytes.length.toLocaleString('en-US')}</span> <code>${cut(hex, room)}</code>${more}`
}

/** As far as there is room; the first letters and how many there are. */
function cut(text: string, room: Room, longest = LONGEST_TEXT): Html {
  const length = Math.max(0, Math.min(longest, room.characters))
  room.characters -= Math.min(text.length, length)
  if (text.length <= length) return html`${text}`
  return html`${text.slice(0, length)}<span class="dim">… ${text.length.toLocaleString('en-US')} characters in all</span>`
}

/** `PyDateTime` is shown as `DateTime`. */
function typeOf(value: unknown): string {
  const name: unknown =
    typeof value === 'object' && value !== null ? Reflect.get(value.constructor ?? {}, 'name') : typeof value
  return String(name).replace(/^Py/, '')
}

function wordsOf(value: unknown): string {
  if (isDate(value)) return Number.isNaN(value.getTime()) ? 'no date' : value.toISOString()
  return String(hasToJson(value) ? value.toJSON() : value)
}

function hasToJson(value: unknown): value is { toJSON(): unknown } {
  return (
    typeof value === 'object' && value !== null && 'toJSON' in value && typeof value.toJSON === 'function'
  )
}
