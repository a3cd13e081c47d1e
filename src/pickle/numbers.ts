/** Numbers as pickles write them. The readers return `undefined` for what is not a number. */

/** A safe integer as a number, any other as a bigint. */
function simplestInteger(integer: bigint): number | bigint {
  return integer >= MIN_SAFE && integer <= MAX_SAFE ? Number(integer) : integer
}

const MAX_SAFE = BigInt(Number.MAX_SAFE_INTEGER)
const MIN_SAFE = BigInt(Number.MIN_SAFE_INTEGER)

/** Two's complement, little-endian, of any length. */
export function readTwosComplement(bytes: Uint8Array): number | bigint {
  if (bytes.length <= 6) {
    let value = 0
    for (let index = bytes.length - 1; index >= 0; index--) value = value * 256 + (bytes[index] ?? 0)
    const isNegative = ((bytes.at(-1) ?? 0) & 0x80) !== 0
    return isNegative ? value - 256 ** bytes.length : value
  }
  return simplestInteger(BigInt.asIntN(bytes.length * 8, BigInt(`0x${hexOf(bytes)}`)))
}

/** The last byte first. */
function hexOf(bytes: Uint8Array): string {
  if (bytes.length > FEW_BYTES) return Buffer.from(bytes).reverse().toString('hex')
  let hex = ''
  for (let index = bytes.length - 1; index >= 0; index--) hex += HEX[bytes[index] ?? 0]
  return hex
}

/** Up to here a loop is faster than a Buffer. */
const FEW_BYTES = 16
const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'))

/** The shortest two's complement, little-endian; zero is no byte at all. */
export function writeTwosComplement(integer: bigint): Uint8Array {
  if (integer === 0n) return new Uint8Array()
  const magnitude = integer < 0n ? -integer - 1n : integer
  const digits = magnitude.toString(16)
  // One bit more than the magnitude has, for the sign.
  const isFull = digits.length % 2 === 0 && digits.charAt(0) >= '8'
  const length = Math.ceil(digits.length / 2) + (isFull ? 1 : 0)
  const hex = BigInt.asUintN(length * 8, integer)
    .toString(16)
    .padStart(length * 2, '0')
  return Uint8Array.from({ length }, (_, index) => {
    const end = hex.length - index * 2
    return Number.parseInt(hex.slice(end - 2, end), 16)
  })
}

/** The argument of `INT` and, with or without its final `L`, of `LONG`. */
export function readDecimalInteger(text: string): number | bigint | undefined {
  if (text.length <= SHORT && /^-?[1-9]\d*$/.test(text)) return Number(text)
  const digits = /^\s*([+-]?)(\d+)\s*$/.exec(text)
  if (digits === null) return undefined
  const magnitude = BigInt(digits[2] ?? '')
  return simplestInteger(digits[1] === '-' ? -magnitude : magnitude)
}

/** Up to here the digits of an integer are those of a safe one. */
const SHORT = 15

/** The argument of `FLOAT`: what Python's `float()` reads. */
export function readFloat(text: string): number | undefined {
  if (/^-?\d+(?:\.\d*)?$/.test(text)) return Number(text)
  const parts = /^\s*([+-]?)(?:(inf|infinity)|(nan)|((?:\d+(?:\.\d*)?|\.\d+)(?:e[+-]?\d+)?))\s*$/i.exec(text)
  if (parts === null) return undefined
  const [, sign, infinity, nan, decimal] = parts
  if (nan !== undefined) return Number.NaN
  const magnitude = infinity === undefined ? Number(decimal) : Number.POSITIVE_INFINITY
  return sign === '-' ? -magnitude : magnitude
}

/** As Python's `repr` writes a float: from 1e16 on and below 1e-4 with an exponent of two digits or more. */
export function writeFloat(value: number): string {
  if (Number.isNaN(value)) return 'nan'
  if (!Number.isFinite(value)) return value > 0 ? 'inf' : '-inf'
  if (Object.is(value, -0)) return '-0.0'
  const [digits = '', exponentText = '0'] = value.toExponential().split('e')
  const exponent = Number(exponentText)
  if (value !== 0 && (exponent < -4 || exponent >= 16)) {
    return `${digits}e${exponent < 0 ? '-' : '+'}${String(Math.abs(exponent)).padStart(2, '0')}`
  }
  const plain = exponent < 0 ? value.toFixed(digits.replace(/\D/g, '').length - 1 - exponent) : String(value)
  return plain.includes('.') ? plain : `${plain}.0`
}
