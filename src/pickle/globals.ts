/** The names of Python's classes and functions, in the spelling of Python 3. */
import { BUILTIN_EXCEPTIONS, NEW_EXCEPTIONS } from './exceptions.ts'
import { MERGED_MODULES, MERGED_NAMES, MOVED_MODULES, MOVED_NAMES } from './moved-names.ts'

export interface GlobalName {
  readonly module: string
  readonly name: string
}

/** Protocols 0 to 2 spell what moved in Python 3 as Python 2 did. */
export function modernize(module: string, name: string): GlobalName {
  const moved = MODERN_NAMES.get(module)?.get(name)
  return moved ?? { module: MODERN_MODULES.get(module) ?? module, name }
}

/** What CPython writes in protocols 0 to 2. Exceptions that Python 2 did not have keep their name, so that none is lost. */
export function antiquate(module: string, name: string): GlobalName {
  if (module === 'builtins' && BUILTIN_EXCEPTIONS.has(name)) {
    return { module: NEW_EXCEPTIONS.has(name) ? module : 'exceptions', name }
  }
  const moved = ANTIQUE_NAMES.get(module)?.get(name)
  return moved ?? { module: ANTIQUE_MODULES.get(module) ?? module, name }
}

/** By module, then by name: a key made of both would be a text of its own for each look-up. */
type Names = ReadonlyMap<string, ReadonlyMap<string, GlobalName>>

const MODERN_NAMES = namesOf([...MERGED_NAMES, ...MOVED_NAMES])
const ANTIQUE_NAMES = namesOf(MOVED_NAMES.map(reverse))
const MODERN_MODULES: ReadonlyMap<string, string> = new Map([
  ...MERGED_MODULES,
  ...MOVED_MODULES,
  ['exceptions', 'builtins'],
])
const ANTIQUE_MODULES: ReadonlyMap<string, string> = new Map(MOVED_MODULES.map(reverse))

function reverse([old, modern]: readonly [string, string]): readonly [string, string] {
  return [modern, old]
}

function namesOf(pairs: readonly (readonly [string, string])[]): Names {
  const names = new Map<string, Map<string, GlobalName>>()
  for (const [from, to] of pairs) {
    const { module, name } = placeOf(from)
    const inModule = names.get(module) ?? new Map<string, GlobalName>()
    names.set(module, inModule.set(name, placeOf(to)))
  }
  return names
}

function placeOf(path: string): GlobalName {
  const dot = path.lastIndexOf('.')
  return { module: path.slice(0, dot), name: path.slice(dot + 1) }
}
