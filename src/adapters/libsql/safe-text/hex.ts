/**
 * The bytes of a BLOB, as libSQL's clients have them. They own their memory: most small Buffers are slices of a pool
 * that they share with whatever else the process handles, and `buffer` of one of those is all of it.
 */
export function bytesOfHex(hex: string): ArrayBuffer {
  const bytes = Buffer.allocUnsafeSlow(hex.length / 2)
  bytes.write(hex, 'hex')
  return bytes.buffer
}

export function textOfHex(hex: string): string {
  return Buffer.from(hex, 'hex').toString()
}
