import { antiquate } from './names.ts'
import { writeFloat, writeTwosComplement } from './numbers.ts'
import {
  BINBYTES,
  BINBYTES8,
  BINFLOAT,
  BINGET,
  BININT,
  BININT1,
  BININT2,
  BINPUT,
  BINUNICODE,
  BINUNICODE8,
  GLOBAL,
  LONG_BINGET,
  LONG_BINPUT,
  LONG1,
  LONG4,
  MEMOIZE,
  NEWFALSE,
  NEWTRUE,
  SHORT_BINBYTES,
  SHORT_BINUNICODE,
  UNICODE,
} from './opcodes.ts'
import { writeLatin1, writeRawUnicodeEscape, writeUtf8 } from './text.ts'
import type { Writer } from './writer.ts'

export function writeBoolean(writer: Writer, protocol: number, value: boolean): void {
  if (protocol >= 2) writer.byte(value ? NEWTRUE : NEWFALSE)
  else writer.ascii(value ? 'I01\n' : 'I00\n')
}

/** A safe integer as an `int`, all else, `-0` too, as a `float`. */
export function writeNumber(writer: Writer, protocol: number, value: number): void {
  if (Number.isSafeInteger(value) && !Object.is(value, -0)) {
    writeInteger(writer, protocol, value)
  } else if (protocol === 0) {
    writer.ascii(`F${writeFloat(value)}\n`)
  } else {
    writer.byte(BINFLOAT)
    writer.float(value)
  }
}

export function writeInteger(writer: Writer, protocol: number, value: number | bigint): void {
  const isShort = value >= -0x80000000 && value <= 0x7fffffff
  if (isShort && protocol === 0) writer.ascii(`I${value}\n`)
  else if (isShort) writeInt32(writer, Number(value))
  else if (protocol < 2) writer.ascii(`L${value}L\n`)
  else writeLong(writer, BigInt(value))
}

function writeInt32(writer: Writer, value: number): void {
  if (value >= 0 && value <= 0xff) {
    writer.byte(BININT1)
    writer.byte(value)
  } else if (value >= 0 && value <= 0xffff) {
    writer.byte(BININT2)
    writer.uint16(value)
  } else {
    writer.byte(BININT)
    writer.int32(value)
  }
}

function writeLong(writer: Writer, value: bigint): void {
  const bytes = writeTwosComplement(value)
  if (bytes.length < 256) {
    writer.byte(LONG1)
    writer.byte(bytes.length)
  } else {
    writer.byte(LONG4)
    writer.int32(bytes.length)
  }
  writer.bytes(bytes)
}

export function writeString(writer: Writer, protocol: number, text: string): void {
  if (protocol === 0) {
    writer.byte(UNICODE)
    writer.bytes(writeLatin1(writeRawUnicodeEscape(text)) ?? new Uint8Array())
    writer.ascii('\n')
    return
  }
  if (protocol >= 4 && text.length <= SHORT && isAscii(text)) {
    writer.byte(SHORT_BINUNICODE)
    writer.byte(text.length)
    writer.ascii(text)
    return
  }
  const short = protocol >= 4 ? SHORT_BINUNICODE : undefined
  writePayload(writer, short, BINUNICODE, BINUNICODE8, writeUtf8(text))
}

/** Up to here it is faster to encode by hand. */
const SHORT = 64

function isAscii(text: string): boolean {
  for (let index = 0; index < text.length; index++) if (text.charCodeAt(index) > 0x7f) return false
  return true
}

/** Since protocol 3. */
export function writeBytes(writer: Writer, bytes: Uint8Array): void {
  writePayload(writer, SHORT_BINBYTES, BINBYTES, BINBYTES8, bytes)
}

function writePayload(
  writer: Writer,
  short: number | undefined,
  long: number,
  huge: number,
  bytes: Uint8Array,
): void {
  const { length } = bytes
  writer.payload(() => {
    if (length < 256 && short !== undefined) {
      writer.byte(short)
      writer.byte(length)
    } else if (length < 2 ** 32) {
      writer.byte(long)
      writer.uint32(length)
    } else {
      writer.byte(huge)
      writer.length64(length)
    }
  }, bytes)
}

/**
 * The name of a class or function, as protocols before 4 write it.
 * @returns false if the protocol cannot spell it; then nothing was written
 */
export function writeGlobal(writer: Writer, protocol: number, module: string, name: string): boolean {
  const global = protocol < 3 ? antiquate(module, name) : { module, name }
  // Python would not import nothing, and cannot find it in anything.
  if (global.module === '' || global.name === '') return false
  const lines = `${global.module}\n${global.name}\n`
  if (lines.split('\n').length !== 3 || (protocol < 3 && !isAscii(lines))) return false
  writer.byte(GLOBAL)
  writer.bytes(writeUtf8(lines))
  return true
}

export function writeGet(writer: Writer, protocol: number, index: number): void {
  if (protocol === 0) {
    writer.ascii(`g${index}\n`)
  } else if (index < 256) {
    writer.byte(BINGET)
    writer.byte(index)
  } else {
    writer.byte(LONG_BINGET)
    writer.uint32(index)
  }
}

export function writePut(writer: Writer, protocol: number, index: number): void {
  if (protocol >= 4) {
    writer.byte(MEMOIZE)
  } else if (protocol === 0) {
    writer.ascii(`p${index}\n`)
  } else if (index < 256) {
    writer.byte(BINPUT)
    writer.byte(index)
  } else {
    writer.byte(LONG_BINPUT)
    writer.uint32(index)
  }
}
