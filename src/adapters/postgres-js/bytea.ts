/**
 * Reads both of PostgreSQL's text forms of bytes: `\x` with hexadecimal digits, and what `bytea_output=escape` makes of
 * them, where a backslash is doubled and what cannot be printed has three octal digits. A database or a role may ask for
 * the latter, and no pooler lets us ask otherwise when we connect.
 *
 * They own their memory: small Buffers are otherwise slices of a pool that they share with whatever else the process
 * handles, and code that takes `value.buffer` for the bytes (vector columns do) would read all of it.
 */
export function parseBytea(text: string): Buffer {
  if (text.startsWith('\\x')) return ownBytes(text.slice(2), 'hex', text.length / 2 - 1)
  const unescaped = text.replaceAll(/\\(?:\\|([0-3][0-7]{2}))/g, (_, octal: string | undefined) =>
    octal === undefined ? '\\' : String.fromCharCode(Number.parseInt(octal, 8)),
  )
  return ownBytes(unescaped, 'latin1', unescaped.length)
}

function ownBytes(text: string, encoding: 'hex' | 'latin1', length: number): Buffer {
  const bytes = Buffer.allocUnsafeSlow(length)
  // What is left unwritten would be other memory of the process.
  if (bytes.write(text, encoding) !== length) throw new Error('The server sent bytes in no known form')
  return bytes
}
