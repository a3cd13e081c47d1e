/** What would run code in Python, or could in JavaScript, stays a description. */
import { execFileSync } from 'node:child_process'
import { decode, encode, PickleError, PyObject } from 'drizzle-celery/pickle'
import { describe, expect, it } from 'vitest'
import { assemble, text } from '../fixtures/pickle/assemble.ts'

const call = (module: string, name: string, ...args: string[]) =>
  assemble(`c${module}\n${name}\n(`, ...args.map((arg) => `V${arg}\n`), 'tR.')
const stackGlobal = (module: string, name: string) => assemble(0x80, 4, text(module), text(name), 0x93)

const python: Readonly<Record<string, Uint8Array>> = {
  'os.system': call('os', 'system', 'touch /tmp/pwned'),
  'posix.system': call('posix', 'system', 'true'),
  'nt.system': call('nt', 'system', 'calc'),
  'os.popen': call('os', 'popen', 'true'),
  'os.execl': call('os', 'execl', '/bin/sh', 'sh'),
  'os.fork': call('os', 'fork'),
  'os.remove': call('os', 'remove', '/tmp/none'),
  'builtins.eval': call('builtins', 'eval', '1+1'),
  '__builtin__.eval': call('__builtin__', 'eval', '1+1'),
  'builtins.exec': call('builtins', 'exec', 'import os'),
  'builtins.compile': call('builtins', 'compile', '1', '', 'eval'),
  'builtins.__import__': call('builtins', '__import__', 'os'),
  'builtins.open': call('builtins', 'open', '/etc/passwd'),
  'builtins.getattr': call('builtins', 'getattr', 'os', 'system'),
  'builtins.setattr': call('builtins', 'setattr', 'os', 'x', 'y'),
  'builtins.globals': call('builtins', 'globals'),
  'builtins.type': call('builtins', 'type', 'X'),
  'builtins.map': call('builtins', 'map', 'os'),
  'builtins.print': call('builtins', 'print', 'x'),
  'builtins.input': call('builtins', 'input'),
  'subprocess.Popen': call('subprocess', 'Popen', 'true'),
  'subprocess.check_output': call('subprocess', 'check_output', 'true'),
  'commands.getoutput': call('commands', 'getoutput', 'true'),
  'importlib.import_module': call('importlib', 'import_module', 'os'),
  'runpy.run_path': call('runpy', 'run_path', '/tmp/x.py'),
  'pickle.loads': call('pickle', 'loads', 'N.'),
  'marshal.loads': call('marshal', 'loads', 'N'),
  'types.CodeType': call('types', 'CodeType', 'x'),
  'types.FunctionType': call('types', 'FunctionType', 'x'),
  'socket.create_connection': call('socket', 'create_connection', 'localhost'),
  'urllib.request.urlopen': call('urllib.request', 'urlopen', 'http://localhost'),
  'webbrowser.open': call('webbrowser', 'open', 'http://localhost'),
  'ctypes.CDLL': call('ctypes', 'CDLL', 'libc.so.6'),
  'sys.exit': call('sys', 'exit', '1'),
  'operator.attrgetter': call('operator', 'attrgetter', 'system'),
  'functools.partial of os.system': assemble('cfunctools\npartial\n(cos\nsystem\nVtrue\ntR)R.'),
  'a chain of getattr': assemble(
    'cbuiltins\ngetattr\np0\n0g0\n(g0\n(cbuiltins\nobject\nV__subclasses__\ntR)RV__getitem__\ntR(I0\ntR.',
  ),
  'os.system by STACK_GLOBAL': assemble(stackGlobal('os', 'system'), text('true'), 0x85, 'R.'),
  'a dotted name': assemble(stackGlobal('os', 'path.os.system'), text('true'), 0x85, 'R.'),
  'os.system by NEWOBJ': assemble('cos\nsystem\n(Vtrue\nt', 0x81, '.'),
  'os.system by NEWOBJ_EX': assemble('cos\nsystem\n(Vtrue\nt}', 0x92, '.'),
  'os.system by INST': assemble('(Vtrue\nios\nsystem\n.'),
  'os.system by OBJ': assemble('(cos\nsystem\nVtrue\no.'),
  'an object with __setstate__': assemble('capp\nEvil\n)', 0x81, '}(V__setstate__\ncos\nsystem\nub.'),
  'a state for a class': assemble('capp\nEvil\n}(V__init__\ncos\nsystem\nub.'),
  'items for a class': assemble('cos\nenviron\nVA\nVB\ns.'),
  'items for a list of its own': assemble('capp\nEvil\n)R(cos\nsystem\nI1\ne.'),
  'an extension of one byte': assemble(0x80, 2, 0x82, 1, '.'),
  'an extension of two bytes': assemble(0x80, 2, 0x83, 1, 1, '.'),
  'an extension of four bytes': assemble(0x80, 2, 0x84, 1, 1, 1, 1, '.'),
  'a persistent id': assemble('Pos.system\n.'),
  'a persistent id from the stack': assemble('Vos.system\nQ.'),
}

/** In the slots of JavaScript's own names. */
const names = [
  'constructor',
  '__proto__',
  'prototype',
  'toString',
  'valueOf',
  'then',
  'toJSON',
  'hasOwnProperty',
]
const evil = assemble('cos\nsystem\n')
const javascript: Readonly<Record<string, Uint8Array>> = {
  ...Object.fromEntries(
    names.map((name) => [`a dict with the key ${name}`, assemble('}', text(name), evil, 's.')]),
  ),
  ...Object.fromEntries(names.map((name) => [`a class ${name}`, call(name, name, name)])),
  'a prototype in a prototype': assemble('}', text('__proto__'), '}', text('polluted'), 'I1\nss.'),
  'a prototype by DICT': assemble('(', text('__proto__'), '}', text('polluted'), 'I1\nsd.'),
  'a prototype for an OrderedDict': assemble(
    'ccollections\nOrderedDict\n)R',
    text('__proto__'),
    '}',
    text('polluted'),
    'I1\nss.',
  ),
  'a prototype from pairs': assemble(
    'ccollections\nOrderedDict\n(((',
    text('__proto__'),
    '}',
    text('polluted'),
    'I1\nslltR.',
  ),
  'a prototype as a state': assemble('capp\nEvil\n)R}', text('__proto__'), '}', text('polluted'), 'I1\nssb.'),
  'a prototype before a number': assemble('}(', text('__proto__'), '}', text('polluted'), 'I1\nsI1\nNu.'),
  'constructor.prototype': assemble(
    '}',
    text('constructor'),
    '}',
    text('prototype'),
    '}',
    text('polluted'),
    'I1\nsss.',
  ),
  'a class of Object': call('Object', 'assign', 'x'),
  'a class of globalThis': call('globalThis', 'eval', '1'),
}

const prototypes = [Object, Array, Map, Set, String, Function, PyObject].map(({ prototype }) => prototype)
const snapshot = () => prototypes.map((prototype) => Reflect.ownKeys(prototype).map(String))

describe.each(Object.entries({ ...python, ...javascript }))('%s', (_, input) => {
  it('is inert', async () => {
    const before = snapshot()
    let value: unknown
    try {
      value = decode(input)
    } catch (error) {
      expect(error).toBeInstanceOf(PickleError)
      return
    }

    expect(functionsIn(value)).toEqual([])
    expect(await value).toBe(value)
    expect(snapshot()).toEqual(before)
    expect(Reflect.get({}, 'polluted')).toBeUndefined()
    expect(JSON.stringify(structuredClone(value))).toBe(JSON.stringify(value))
  })
})

it('there are at least 40 of the first kind and 20 of the second', () => {
  expect(Object.keys(python).length).toBeGreaterThanOrEqual(40)
  expect(Object.keys(javascript).length).toBeGreaterThanOrEqual(20)
})

it('nothing is imported, spawned or opened while a gadget is read', () => {
  const before = process.getActiveResourcesInfo()
  for (const input of Object.values(python)) isRead(input)

  expect(process.getActiveResourcesInfo()).toEqual(before)
  expect(execFileSync('sh', ['-c', 'test -e /tmp/pwned || echo none'], { encoding: 'utf8' })).toBe('none\n')
})

it('only what points outside the pickle, or would change a class, is refused', () => {
  const refused = Object.entries({ ...python, ...javascript })
    .filter(([, input]) => !isRead(input))
    .map(([name]) => name)

  expect(refused).toEqual([
    'a state for a class',
    'items for a class',
    'an extension of one byte',
    'an extension of two bytes',
    'an extension of four bytes',
    'a persistent id',
    'a persistent id from the stack',
  ])
})

it('a gadget is described by its module, its name and its arguments', () => {
  expect(decode(call('os', 'system', 'true'))).toMatchObject({ module: 'os', name: 'system', args: ['true'] })
})

it('a name with a line break cannot smuggle opcodes into an encoded pickle', () => {
  const object = decode(assemble(stackGlobal('app', 'X\n(Vtrue\nios\nsystem\n.'), '.'))

  expect(() => encode(object, { protocol: 2 })).toThrow(
    expect.objectContaining({ code: 'PICKLE_UNENCODABLE' }),
  )
  expect(decode(encode(object, { protocol: 4 }))).toEqual(object)
})

function isRead(input: Uint8Array): boolean {
  try {
    decode(input)
    return true
  } catch {
    return false
  }
}

/** All functions that can be reached over own properties and items. */
function functionsIn(root: unknown): unknown[] {
  const found: unknown[] = []
  const seen = new Set<unknown>()
  const left: unknown[] = [root]
  while (left.length > 0) {
    const value = left.pop()
    if (seen.has(value)) continue
    seen.add(value)
    if (typeof value === 'function') found.push(value)
    if (typeof value !== 'object' || value === null) continue
    left.push(...Reflect.ownKeys(value).map((name) => Reflect.get(value, name)))
    if (value instanceof Map) left.push(...value.keys(), ...value.values())
    if (value instanceof Set) left.push(...value)
  }
  return found
}
