/** The opcodes of protocols 0 to 5, by the names of Python's `pickletools`. */
export const MARK = 0x28
export const EMPTY_TUPLE = 0x29
export const STOP = 0x2e
export const POP = 0x30
export const POP_MARK = 0x31
const DUP = 0x32
export const BINBYTES = 0x42
export const SHORT_BINBYTES = 0x43
const FLOAT = 0x46
export const BINFLOAT = 0x47
const INT = 0x49
export const BININT = 0x4a
export const BININT1 = 0x4b
const LONG = 0x4c
export const BININT2 = 0x4d
export const NONE = 0x4e
export const PERSID = 0x50
export const BINPERSID = 0x51
export const REDUCE = 0x52
const STRING = 0x53
const BINSTRING = 0x54
const SHORT_BINSTRING = 0x55
export const UNICODE = 0x56
export const BINUNICODE = 0x58
export const EMPTY_LIST = 0x5d
export const APPEND = 0x61
export const BUILD = 0x62
export const GLOBAL = 0x63
const DICT = 0x64
export const APPENDS = 0x65
const GET = 0x67
export const BINGET = 0x68
const INST = 0x69
export const LONG_BINGET = 0x6a
const LIST = 0x6c
const OBJ = 0x6f
const PUT = 0x70
export const BINPUT = 0x71
export const LONG_BINPUT = 0x72
export const SETITEM = 0x73
export const TUPLE = 0x74
export const SETITEMS = 0x75
export const EMPTY_DICT = 0x7d
export const PROTO = 0x80
export const NEWOBJ = 0x81
export const EXT1 = 0x82
export const EXT2 = 0x83
export const EXT4 = 0x84
export const TUPLE1 = 0x85
const TUPLE2 = 0x86
const TUPLE3 = 0x87
export const NEWTRUE = 0x88
export const NEWFALSE = 0x89
export const LONG1 = 0x8a
export const LONG4 = 0x8b
export const SHORT_BINUNICODE = 0x8c
export const BINUNICODE8 = 0x8d
export const BINBYTES8 = 0x8e
export const EMPTY_SET = 0x8f
export const ADDITEMS = 0x90
export const FROZENSET = 0x91
export const NEWOBJ_EX = 0x92
export const STACK_GLOBAL = 0x93
export const MEMOIZE = 0x94
export const FRAME = 0x95
const BYTEARRAY8 = 0x96
export const NEXT_BUFFER = 0x97
export const READONLY_BUFFER = 0x98

/** For error messages only. */
export function opcodeName(opcode: number): string {
  return NAMES.get(opcode) ?? `0x${opcode.toString(16).padStart(2, '0')}`
}

const NAMES: ReadonlyMap<number, string> = new Map([
  [MARK, 'MARK'],
  [EMPTY_TUPLE, 'EMPTY_TUPLE'],
  [STOP, 'STOP'],
  [POP, 'POP'],
  [POP_MARK, 'POP_MARK'],
  [DUP, 'DUP'],
  [BINBYTES, 'BINBYTES'],
  [SHORT_BINBYTES, 'SHORT_BINBYTES'],
  [FLOAT, 'FLOAT'],
  [BINFLOAT, 'BINFLOAT'],
  [INT, 'INT'],
  [BININT, 'BININT'],
  [BININT1, 'BININT1'],
  [LONG, 'LONG'],
  [BININT2, 'BININT2'],
  [NONE, 'NONE'],
  [PERSID, 'PERSID'],
  [BINPERSID, 'BINPERSID'],
  [REDUCE, 'REDUCE'],
  [STRING, 'STRING'],
  [BINSTRING, 'BINSTRING'],
  [SHORT_BINSTRING, 'SHORT_BINSTRING'],
  [UNICODE, 'UNICODE'],
  [BINUNICODE, 'BINUNICODE'],
  [EMPTY_LIST, 'EMPTY_LIST'],
  [APPEND, 'APPEND'],
  [BUILD, 'BUILD'],
  [GLOBAL, 'GLOBAL'],
  [DICT, 'DICT'],
  [APPENDS, 'APPENDS'],
  [GET, 'GET'],
  [BINGET, 'BINGET'],
  [INST, 'INST'],
  [LONG_BINGET, 'LONG_BINGET'],
  [LIST, 'LIST'],
  [OBJ, 'OBJ'],
  [PUT, 'PUT'],
  [BINPUT, 'BINPUT'],
  [LONG_BINPUT, 'LONG_BINPUT'],
  [SETITEM, 'SETITEM'],
  [TUPLE, 'TUPLE'],
  [SETITEMS, 'SETITEMS'],
  [EMPTY_DICT, 'EMPTY_DICT'],
  [PROTO, 'PROTO'],
  [NEWOBJ, 'NEWOBJ'],
  [EXT1, 'EXT1'],
  [EXT2, 'EXT2'],
  [EXT4, 'EXT4'],
  [TUPLE1, 'TUPLE1'],
  [TUPLE2, 'TUPLE2'],
  [TUPLE3, 'TUPLE3'],
  [NEWTRUE, 'NEWTRUE'],
  [NEWFALSE, 'NEWFALSE'],
  [LONG1, 'LONG1'],
  [LONG4, 'LONG4'],
  [SHORT_BINUNICODE, 'SHORT_BINUNICODE'],
  [BINUNICODE8, 'BINUNICODE8'],
  [BINBYTES8, 'BINBYTES8'],
  [EMPTY_SET, 'EMPTY_SET'],
  [ADDITEMS, 'ADDITEMS'],
  [FROZENSET, 'FROZENSET'],
  [NEWOBJ_EX, 'NEWOBJ_EX'],
  [STACK_GLOBAL, 'STACK_GLOBAL'],
  [MEMOIZE, 'MEMOIZE'],
  [FRAME, 'FRAME'],
  [BYTEARRAY8, 'BYTEARRAY8'],
  [NEXT_BUFFER, 'NEXT_BUFFER'],
  [READONLY_BUFFER, 'READONLY_BUFFER'],
])
